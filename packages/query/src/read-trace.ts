import { monthBounds, monthOf, type Trace, traceIdStart } from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { SUMMARY_COLUMNS, type Tables, traceOf } from './tables.ts'

/**
 * The trace with this id, by one partition where the id tells the start of the trace. For another id the month of `nowMs` is looked
 * at first, then all. Of several traces with one id, which only ids of others can have, one of the newest month that was looked at.
 */
export async function readTrace(db: Kysely<Tables>, id: string, nowMs: number): Promise<Trace | undefined> {
  const startMs = traceIdStart(id)
  const query = wholeTrace(db).where('trace_id', '=', id)
  if (startMs !== undefined) return read(query.where('started_at', '=', new Date(startMs)))
  const { fromMs, toMs } = monthBounds(monthOf(nowMs))
  const recent = query.where('started_at', '>=', new Date(fromMs)).where('started_at', '<', new Date(toMs))
  return (await read(recent)) ?? read(query)
}

/** The newest trace with this execution id. */
export const readExecution = (db: Kysely<Tables>, executionId: string): Promise<Trace | undefined> =>
  read(wholeTrace(db).where('execution_id', '=', executionId))

async function read(query: ReturnType<typeof wholeTrace>): Promise<Trace | undefined> {
  const row = await query.executeTakeFirst()
  return row && traceOf(row)
}

const wholeTrace = (db: Kysely<Tables>) =>
  db
    .selectFrom('execution_traces')
    .select([...SUMMARY_COLUMNS, 'steps'])
    .orderBy('started_at', 'desc')
    .orderBy('trace_id', 'desc')
    .limit(1)
