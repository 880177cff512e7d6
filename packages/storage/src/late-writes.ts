import { type Month, monthBounds, monthOf, newTraceId, parseTraceId } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import { monthDate } from './retention-records.ts'
import type { Tables } from './tables.ts'

/** The key of a row. */
export interface TraceKey {
  traceId: string
  /** Milliseconds since 1970. */
  startedAtMs: number
}

/** From this long after its end on, writes to a month are noted; no month is rewritten that ended less than twice as long ago. */
const LATE_AFTER_MS = 86_400_000

/** Whether a write to this row has to be noted: its month may be rewritten by somebody meanwhile. */
export function isLate(startedAtMs: number, nowMs: number): boolean {
  // Almost all are younger.
  return (
    startedAtMs < nowMs - LATE_AFTER_MS && monthBounds(monthOf(startedAtMs)).toMs <= nowMs - LATE_AFTER_MS
  )
}

/**
 * The statement that notes which rows of months that are over are written, or removed: whoever rewrites such a month catches up by
 * it. It MUST run in the transaction that writes, changes or removes rows of `execution_traces`. Without parameters, so that it can
 * travel with what goes before it. Undefined where no row is late, as nearly always.
 */
export function lateWriteStatement(
  table: string,
  keys: readonly TraceKey[],
  nowMs: number,
): string | undefined {
  const late = keys.filter(({ startedAtMs }) => isLate(startedAtMs, nowMs))
  if (late.length === 0) return undefined
  const months = Map.groupBy(late, ({ startedAtMs }) => monthDate(monthOf(startedAtMs)))
  const rows = [...months].map(([day, some]) => {
    const ids = some.map(({ traceId }) => parseTraceId(traceId))
    const starts = some.map(({ startedAtMs }) => new Date(startedAtMs).toISOString())
    return `('${newTraceId(nowMs)}', '${day}', '{${ids.join()}}', '{${starts.join()}}')`
  })
  return `insert into ${table} (entry_id, month, trace_ids, started_at) values ${rows.join()}`
}

/** What one write has noted of a month. */
export interface LateWrites {
  entryId: string
  keys: TraceKey[]
}

/** What was noted of a month, less what is known already; at most `limit` notes, each of up to 1,000 rows. */
export async function lateWritesOf(
  db: Kysely<Tables>,
  month: Month,
  known: ReadonlySet<string>,
  limit: number,
): Promise<LateWrites[]> {
  const rows = await db
    .selectFrom('execution_late_writes')
    .select(['entry_id', 'trace_ids', 'started_at'])
    .where(sql<boolean>`month = ${monthDate(month)}::date`)
    .where(sql<boolean>`not entry_id = any(${[...known]}::uuid[])`)
    .limit(limit)
    .execute()
  return rows.map(({ entry_id, trace_ids, started_at }) => ({
    entryId: entry_id,
    keys: trace_ids.map((traceId, i) => ({ traceId, startedAtMs: (started_at[i] as Date).getTime() })),
  }))
}

/** The months of which something is noted, by their first day. */
export async function notedMonths(db: Kysely<Tables>): Promise<Set<string>> {
  const rows = await db
    .selectFrom('execution_late_writes')
    .select(sql<string>`month::text`.as('day'))
    .distinct()
    .execute()
  return new Set(rows.map(({ day }) => day))
}

/** Forgets what was noted of a month; nobody may be rewriting it. */
export async function forgetLateWrites(db: Kysely<Tables>, day: string): Promise<void> {
  await db.deleteFrom('execution_late_writes').where(sql<boolean>`month = ${day}::date`).execute()
}
