import { type Kysely, sql } from 'kysely'

// What searches go by besides time, skill and metadata (docs/adr/0009-search.md): for each way to ask there is an index that gives
// the newest first, or one that finds what is rare. All but the durations are partial, so that a run that went well pays for one entry.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index execution_traces_timeout on execution_traces (started_at desc) where status = 'timeout'`.execute(
    db,
  )
  await sql`create index execution_traces_skill_status on execution_traces (skill_name, status, started_at desc) where status <> 'success'`.execute(
    db,
  )
  await sql`create index execution_traces_parent on execution_traces (parent_trace_id, started_at desc) where parent_trace_id is not null`.execute(
    db,
  )
  await sql`create index execution_traces_root on execution_traces (root_trace_id, started_at desc) where root_trace_id is not null`.execute(
    db,
  )
  await sql`create index execution_traces_duration on execution_traces (total_duration_ms)`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const name of ['timeout', 'skill_status', 'parent', 'root', 'duration'])
    await sql`drop index ${sql.ref(`execution_traces_${name}`)}`.execute(db)
}
