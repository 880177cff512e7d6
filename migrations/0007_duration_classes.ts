import { type Kysely, sql } from 'kysely'

// Durations by class instead of one by one (docs/adr/0009-search.md): equal keys share their space in the index, so that a trace costs an eighth
// of what it did, and status and skill are in it too. The bounds are those of `packages/query/src/duration-class.ts`; others would be another index.

// It is only declared here: `completeIndexes` makes it after the migration, month by month.

const BOUNDS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((ten) =>
  [1, 2, 3, 4, 5, 6, 8].map((n) => n * ten),
)

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create index execution_traces_duration_class on only execution_traces (
      width_bucket(total_duration_ms, ${sql.lit(`{${BOUNDS.join()}}`)}::double precision[]), status, skill_name)`.execute(
    db,
  )
  await sql`drop index execution_traces_duration`.execute(db)
  await sql`drop index execution_traces_skill_duration`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop index execution_traces_duration_class`.execute(db)
  await sql`create index execution_traces_duration on only execution_traces (total_duration_ms)`.execute(db)
  await sql`create index execution_traces_skill_duration on only execution_traces (skill_name, total_duration_ms)`.execute(
    db,
  )
}
