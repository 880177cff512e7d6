import { type Month, monthBounds } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type { RemovedTrace } from './copy-month.ts'
import { type Database, qualified } from './database.ts'
import { forgetLateWrites, notedMonths } from './late-writes.ts'
import { dropTwins } from './month-twin.ts'
import { dropPartitionsBefore, listPartitions } from './partitions.ts'
import { dueOf, type MonthDue, oldestKept, REWRITE_MIN_SHARE } from './retention-plan.ts'
import { type RetentionPolicy, sortRules } from './retention-policy.ts'
import { monthDate, recordRetention, retentionRecords } from './retention-records.ts'
import { OldSnapshotError, type RewriteStage, rewriteMonth } from './rewrite-month.ts'
import type { Tables } from './tables.ts'
import { isConflict } from './transient-error.ts'

/** What was done to a month. */
export interface AppliedMonth {
  month: Month
  action: 'dropped' | 'rewritten'
  /** Traces; of months that were dropped without being read about as many as Postgres last knew. */
  removed: number
  /** Traces, those that came meanwhile too. */
  kept: number
  /** Bytes that the month takes less, with its indexes. */
  bytesFreed: number
  /** For how long everybody had to wait at most: milliseconds. 0 for months that were detached. */
  lockedMs: number
  /** Milliseconds. */
  tookMs: number
}

/** How retention is applied. */
export interface ApplyOptions {
  nowMs: number
  /** Only these months. Default: all that have a partition. */
  months?: readonly Month[] | undefined
  /** Looks at every month that has something past its time. Default: not at those that were looked at for the same, and not written to since. */
  again?: boolean | undefined
  /** Least share of a month that must go. Default: 0.05. */
  minShare?: number | undefined
  /** Gets all that is about to be removed, month by month. The month stays as it is where it rejects. Then no month is dropped unread. */
  onRemove?: ((month: Month, traces: readonly RemovedTrace[]) => Promise<void>) | undefined
  /** Told, and waited for, before each stage of a rewrite. */
  onStage?: ((month: Month, stage: RewriteStage) => unknown) | undefined
  /** Told, and waited for, when a month is done. */
  onMonth?: ((applied: AppliedMonth) => unknown) | undefined
  /** Breaks it off: the month in work stays as it is. */
  stop?: AbortSignal | undefined
}

/**
 * Removes what is past its time: whole months are detached and dropped, months of which something stays are rewritten, one after the
 * other. Undefined where somebody else is at it: one does it at a time, whatever there is of workers and commands. Needs two
 * connections. A month with others in the way is left for the next time; the others are done, and then it rejects with what was in
 * the way. Idempotent; killed anywhere, each month is as it was or done, and the next call clears away what was left.
 */
export async function applyRetention(
  database: Database,
  policy: RetentionPolicy,
  options: ApplyOptions,
): Promise<AppliedMonth[] | undefined> {
  const sorted = { ...policy, rules: sortRules(policy.rules) }
  return exclusively(database, async () => {
    await dropTwins(database)
    const applied: AppliedMonth[] = []
    const done = async (one: AppliedMonth): Promise<void> => {
      applied.push(one)
      await options.onMonth?.(one)
    }
    let inTheWay: unknown
    const aside = (error: unknown): void => {
      if (options.stop?.aborted || !(isConflict(error) || error instanceof OldSnapshotError)) throw error
      inTheWay ??= error
    }
    if (sorted.keepMonths > 0 && options.onRemove === undefined && options.months === undefined)
      await dropOld(database, sorted, options.nowMs, done).catch(aside)
    for (const due of await dueMonths(database, sorted, options)) {
      options.stop?.throwIfAborted()
      await applyTo(database, sorted, due, options, done).catch(aside)
    }
    if (inTheWay !== undefined) throw inTheWay
    return applied
  })
}

/** Runs the work if nobody else, in any process, does such work on these tables now; else gives undefined. */
async function exclusively<T>({ db, schema }: Database, work: () => Promise<T>): Promise<T | undefined> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ mine: boolean }>`
      select pg_try_advisory_xact_lock(hashtext('stepwell.retention'), hashtext(to_regclass(${qualified(schema, 'execution_traces')})::oid::text)) as mine`.execute(
      trx,
    )
    // It says nothing while the work goes on; its end, or that of its connection, gives the lock back. A statement without
    // parameters also ends the portal of the one before, whose snapshot would stay open.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx)
    return rows[0]?.mine ? work() : undefined
  })
}

async function dropOld(
  database: Database,
  { keepMonths }: RetentionPolicy,
  nowMs: number,
  done: (applied: AppliedMonth) => Promise<void>,
): Promise<void> {
  const oldest = oldestKept(keepMonths, nowMs)
  const startedMs = performance.now()
  const dropped = await dropPartitionsBefore(database, monthBounds(oldest).fromMs, { nowMs })
  const tookMs = (performance.now() - startedMs) / Math.max(1, dropped.length)
  for (const { month, traces, bytes } of dropped)
    await done({ month, action: 'dropped', removed: traces, kept: 0, bytesFreed: bytes, lockedMs: 0, tookMs })
}

/** The months that have to be looked at. What was noted of the others is of no use, and forgotten. */
async function dueMonths(
  database: Database,
  policy: RetentionPolicy,
  { nowMs, months, again }: ApplyOptions,
): Promise<MonthDue[]> {
  const { db } = database
  const noted = await notedMonths(db)
  const records = await retentionRecords(db)
  const wanted = months?.map(monthDate)
  const due: MonthDue[] = []
  for (const month of await listPartitions(database)) {
    const day = monthDate(month)
    const one = dueOf(month, policy, nowMs)
    if (one.goes.length === 0 || wanted?.includes(day) === false) continue
    if (again || noted.has(day) || records.get(day)?.lookedFor !== one.lookedFor) due.push(one)
  }
  const days = due.map(({ month }) => monthDate(month))
  for (const day of noted) if (wanted === undefined && !days.includes(day)) await forgetLateWrites(db, day)
  return due
}

async function applyTo(
  database: Database,
  { rules }: RetentionPolicy,
  { month, goes, whole, lookedFor }: MonthDue,
  options: ApplyOptions,
  done: (applied: AppliedMonth) => Promise<void>,
): Promise<void> {
  const { nowMs, minShare = REWRITE_MIN_SHARE, onRemove, onStage, stop } = options
  const { db } = database as { db: Kysely<Tables> }
  // Before it is looked at: what is noted from now on leads to another look.
  await forgetLateWrites(db, monthDate(month))
  const rewritten = await rewriteMonth(database, month, {
    rules,
    goes,
    lookedFor,
    minShare: whole ? 0 : minShare,
    nowMs,
    onRemove: onRemove && ((traces) => onRemove(month, traces)),
    onStage: onStage && ((stage) => onStage(month, stage)),
    stop,
  })
  if (rewritten === undefined) return recordRetention(db, month, { removed: 0, lookedFor, nowMs })
  const { removed, kept, caughtUp, bytesBefore, bytesAfter, lockedMs, tookMs } = rewritten
  await done({
    month,
    action: bytesAfter === 0 ? 'dropped' : 'rewritten',
    removed,
    kept: kept + caughtUp,
    bytesFreed: bytesBefore - bytesAfter,
    lockedMs,
    tookMs,
  })
}
