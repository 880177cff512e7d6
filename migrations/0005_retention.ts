import { type Kysely, sql } from 'kysely'

// What retention knows of months (docs/adr/0011-retention.md), and the writes to months that are over: a month that is rewritten
// meanwhile catches up by them. Both stay small; times and ids come from the writer.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table execution_retention (
      month      date        not null primary key,
      removed    bigint      not null,
      looked_for text        not null,
      looked_at  timestamptz not null
    )`.execute(db)
  await sql`
    create table execution_late_writes (
      entry_id   uuid          not null primary key,
      month      date          not null,
      trace_ids  uuid[]        not null,
      started_at timestamptz[] not null
    )`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table execution_late_writes`.execute(db)
  await sql`drop table execution_retention`.execute(db)
}
