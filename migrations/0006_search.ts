import { type Kysely, sql } from 'kysely'

// What searches go by besides time, skill and metadata (docs/adr/0009-search.md): for each way to ask there is an index that gives
// the newest first, or one that finds what is rare. All but the durations are partial, so that a run that went well pays for one entry. Those of failures
// came with 0003.

// They are only declared here: `completeIndexes` makes them after the migration, month by month.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index execution_traces_timeout on only execution_traces (started_at desc) where status = 'timeout'`.execute(
    db,
  )
  await sql`create index execution_traces_skill_status on only execution_traces (skill_name, status, started_at desc) where status in ('running', 'timeout')`.execute(
    db,
  )
  await sql`create index execution_traces_parent on only execution_traces (parent_trace_id, started_at desc) where parent_trace_id is not null`.execute(
    db,
  )
  await sql`create index execution_traces_root on only execution_traces (root_trace_id, started_at desc) where root_trace_id is not null`.execute(
    db,
  )
  // So small that it costs nothing (1 KB for a MB of traces): keeps what other indexes find to a slice of time.
  await sql`create index execution_traces_time on only execution_traces using brin (started_at) with (pages_per_range = 32, autosummarize = on)`.execute(
    db,
  )
  await sql`create index execution_traces_duration on only execution_traces (total_duration_ms)`.execute(db)
  await sql`create index execution_traces_skill_duration on only execution_traces (skill_name, total_duration_ms)`.execute(
    db,
  )
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const name of ['timeout', 'skill_status', 'parent', 'root', 'time', 'duration', 'skill_duration'])
    await sql`drop index ${sql.ref(`execution_traces_${name}`)}`.execute(db)
}
