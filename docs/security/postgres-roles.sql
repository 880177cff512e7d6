-- Roles with as few rights as each needs. Run once by an administrator, before the first migration, in the database of the traces:
--   psql "$ADMIN_URL" -v worker_password=… -v reader_password=… -f postgres-roles.sql
-- Producers need no Postgres at all.

-- Owns the schema and the tables. Nobody logs in as it.
create role stepwell_owner nologin;
create schema if not exists stepwell authorization stepwell_owner;

-- Workers, and the commands that write (`migrate`, `delete`, `dead replay`, `dead drop`, `retention apply`): as members of the owner, for they make and drop partitions.
create role stepwell_worker login password :'worker_password' in role stepwell_owner;
alter role stepwell_worker set role stepwell_owner;

-- Tools that ask: TraceQuery and the reading commands.
create role stepwell_reader login password :'reader_password';
grant usage on schema stepwell to stepwell_reader;
alter default privileges for role stepwell_owner in schema stepwell grant select on tables to stepwell_reader;
alter role stepwell_reader set default_transaction_read_only = on;
