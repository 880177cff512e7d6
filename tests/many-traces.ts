import { addMonths, type Month, metadataBits, monthBounds, monthOf } from '@stepwell/protocol'
import { ensurePartitions, openDatabase, rebuildFailures, rebuildRollups } from '@stepwell/storage'
import pg from 'pg'

/** A trace as this file makes it: enough of it to find by hand what a search should. */
export interface MadeTrace {
  trace_id: string
  started_us: string
  skill_name: string
  status: string
  total_duration_ms: number | null
  metadata: Record<string, unknown>
  steps: [number, string, number, number, number][]
  error_message: string | null
  execution_id: string | null
  parent_trace_id: string | null
  root_trace_id: string | null
}

/** The months that they lie in: the last one and the two before it, oldest first. */
export const MONTHS: readonly Month[] = [-3, -2, -1].map((back) => addMonths(monthOf(Date.now()), back))
export const FROM_MS = monthBounds(MONTHS[0] as Month).fromMs
export const TO_MS = monthBounds(MONTHS[2] as Month).toMs
/** From here on rollups know which steps there are. */
export const ROLLED_FROM_MS = TO_MS - 21 * 86_400_000

/**
 * Stores so many traces, evenly over MONTHS, by one statement: skills, statuses, durations and metadata of every frequency, from half of
 * all to none, some of which go together. Gives them, newest first.
 */
export async function makeTraces(url: string, count: number): Promise<MadeTrace[]> {
  const database = openDatabase(url)
  await ensurePartitions(database, MONTHS)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const made = await client.query<{ metadata: object }>(
    `select ${METADATA} as metadata from generate_series(1, $1) i order by i`,
    [count],
  )
  await client.query(
    `insert into execution_traces (trace_id, started_at, completed_at, total_duration_ms, skill_name, status, step_count, steps, metadata, metadata_bits,
                                   error_message, execution_id, parent_trace_id, root_trace_id)
     select ${idOf('i')}, started_at, case when status <> 'running' then started_at end,
            case when status <> 'running' then exp(i % 991 / 80.0) end, skill, status, 2,
            json_build_array(json_build_array(1, 'load', 0, 1, 0),
                             json_build_array(2, case i % 12007 when 0 then 'rare-step' else 'step-' || i % 7 end, 1, 1, (status = 'failed')::int)),
            ${METADATA}, nullif(($4::bigint[])[i], 0),
            case when status = 'failed' then 'connect refused by host ' || i % 40 end,
            case i % 3 when 0 then 'exec-' || i % 20000 end,
            case i % 10 when 0 then ${idOf('i - 1')} end, case i % 10 when 0 then ${idOf('i - i % 100 + 1')} end
       from (select i, to_timestamp(${msOf('i')} / 1000.0) as started_at,
                    case when i % 15000 = 1 then 'rare' when i % 2 = 0 then 'common' else 'skill-' || i % 30 end as skill,
                    -- Of the common skill none fails, of the rare one all.
                    case when i % 15000 = 1 or i % 34 = 17 then 'failed' when i % 7001 = 0 then 'timeout'
                         when i % 20011 = 0 then 'running' else 'success' end as status
               from generate_series(1, $3) i) made`,
    [FROM_MS, TO_MS - FROM_MS - 1, count, made.rows.map(({ metadata }, i) => String(bitsOf(metadata, i)))],
  )
  // Signatures and failing steps.
  await rebuildFailures(database)
  // Broken off: which steps there are is known of the last days, at least.
  const enough = new AbortController()
  await rebuildRollups(database, {
    signal: enough.signal,
    onProgress: ({ rolledFromMs }) => rolledFromMs <= ROLLED_FROM_MS && enough.abort(),
  })
  await database.close()
  await client.query('vacuum analyze execution_traces')
  await client.query('analyze failure_signatures')
  const { rows } = await client.query<MadeTrace>(
    `select trace_id, (extract(epoch from started_at) * 1000000)::bigint::text as started_us, skill_name, status, total_duration_ms,
            metadata, steps, error_message, execution_id, parent_trace_id, root_trace_id
       from execution_traces order by started_at desc, trace_id desc`,
  )
  await client.end()
  return rows
}

const METADATA = `
  jsonb_build_object('env', case when i % 2 = 0 and i % 9002 > 0 then 'prod' else 'dev' end, 'user', 'user-' || i % 9001, 'n', i % 3,
                     'git', jsonb_build_object('branch', 'b-' || i % 50))
  || case i % 13001 when 0 then '{"flag": true}'::jsonb else '{}' end`

/** As they are written; now and then none, and those of a version before, as older workers leave them. */
function bitsOf(metadata: object, i: number): bigint {
  if (i % 101 === 0) return 0n
  return (i % 101 === 1 ? metadataBits('{}', 2) : metadataBits(JSON.stringify(metadata), 1)) as bigint
}

const msOf = (i: string): string => `($1::bigint + $2::bigint * (${i}) / $3)`
const idOf = (i: string): string =>
  `(lpad(to_hex(${msOf(i)}), 12, '0') || '70008000' || lpad(to_hex(${i}), 12, '0'))::uuid`
