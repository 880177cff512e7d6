import { type Month, monthBounds, newTraceId, partitionName, type TraceStatus } from '@stepwell/protocol'
import { type Database, ensurePartitions } from '@stepwell/storage'

/** A row of a month, as far as retention looks at it. */
export interface Row {
  traceId: string
  skillName: string
  status: TraceStatus
}

/** Fills a month with traces of these skills and statuses in turn, straight into the table, spread over its days. */
export async function fillMonth(
  database: Database,
  month: Month,
  { count, skills, statuses }: { count: number; skills: readonly string[]; statuses: readonly TraceStatus[] },
): Promise<Row[]> {
  await ensurePartitions(database, [month])
  const { fromMs, toMs } = monthBounds(month)
  const rows = Array.from({ length: count }, (_, i) => {
    const startMs = fromMs + Math.floor(((toMs - fromMs) * i) / count)
    return {
      startMs,
      traceId: newTraceId(startMs),
      skillName: skills[i % skills.length] as string,
      status: statuses[Math.floor(i / skills.length) % statuses.length] as TraceStatus,
    }
  })
  const table = [database.schema ?? 'public', partitionName(month)].join('.')
  await database.pool.query(
    `insert into ${table} (trace_id, started_at, ingested_at, completed_at, skill_name, status, step_count, steps, metadata, error_message)
     select id, at, at, case when status <> 'running' then at + interval '1 second' end, skill, status, 1,
            '[[1,"work",0,5]]', jsonb_build_object('n', n), case when status = 'failed' then 'message ' || n end
       from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[]) with ordinality as t(id, at, skill, status, n)`,
    [
      rows.map((row) => row.traceId),
      rows.map((row) => new Date(row.startMs)),
      rows.map((row) => row.skillName),
      rows.map((row) => row.status),
    ],
  )
  return rows
}

/** All rows of the table, whole, by id. */
export async function allRows({ pool }: Database): Promise<Map<string, unknown>> {
  const { rows } = await pool.query<{ id: string; row: unknown }>(
    'select trace_id as id, to_jsonb(t) as row from execution_traces t',
  )
  return new Map(rows.map(({ id, row }) => [id, row]))
}
