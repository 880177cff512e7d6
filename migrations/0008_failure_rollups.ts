import { type Kysely, sql } from 'kysely'

// Which patterns failed on a day or in a week, how often, and when last (docs/adr/0012-rollups.md): three arrays, side by side. Null where nobody
// has counted them: what is there already, and what a worker of a version before this writes.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table execution_rollup_overviews
      add column failure_patterns bigint[],
      add column failure_counts   bigint[],
      add column failures_last    timestamptz[]`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table execution_rollup_overviews drop column failure_patterns, drop column failure_counts, drop column failures_last`.execute(
    db,
  )
}
