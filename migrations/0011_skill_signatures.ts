import { type Kysely, sql } from 'kysely'

// The newest failures of a skill with one set of words, by themselves (docs/adr/0008-similar-failures.md): of a message that all skills have, those of the others
// had to be fetched, one by one. It is only declared here: `completeIndexes` makes it after the migration, month by month.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index execution_traces_skill_signature on only execution_traces (skill_name, error_signature, started_at desc, trace_id desc)
    where error_signature is not null`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop index execution_traces_skill_signature`.execute(db)
}
