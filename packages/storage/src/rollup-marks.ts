import { type MinuteRange, minuteOf, rangesText } from '@stepwell/protocol/statistics'

// A mark says which minutes of traces were written to since they were rolled up. It is appended in the transaction of the write, so
// whoever sees the one sees the other. It is never updated and never a conflict target: a mark that is there already may just be
// being removed by a job that does not see our rows.

const MINUTE_MS = 60_000
/** A minute is rolled up this long after its end, when most of its traces have ended. */
const SETTLE_MS = 15_000
/** A minute that is written to late is left for as long as it is old, so that long runs do not have it done again and again; at most this. */
const WAIT_MAX_MS = 600_000
/** Marks that are due at about the same time share a row. */
const DUE_STEP_MS = 5_000

/**
 * The statement that marks the minutes in which these traces started, to be rolled up when they have settled. It MUST run in the
 * transaction that writes, changes or removes the traces. Without parameters, so that it can travel with what goes before it.
 */
export function markStatement(table: string, startsMs: readonly number[], nowMs: number): string {
  const byDue = new Map<number, Set<number>>()
  let latest = Number.NaN
  for (let i = 0; i < startsMs.length; i++) {
    const minute = minuteOf(startsMs[i] as number)
    // Mostly they are of one minute.
    if (minute === latest) continue
    latest = minute
    const dueMs = dueAt(minute, nowMs)
    const minutes = byDue.get(dueMs)
    if (minutes === undefined) byDue.set(dueMs, new Set([minute]))
    else minutes.add(minute)
  }
  const rows = [...byDue].map(
    ([dueMs, minutes]): DueRanges => ({
      dueMs,
      ranges: [...minutes].map((minute) => [minute, minute + 1]),
    }),
  )
  return insertMarks(table, rows)
}

/** Minutes that are to be rolled up from this time on. */
export interface DueRanges {
  dueMs: number
  ranges: readonly MinuteRange[]
}

/** The statement that appends these marks. At least one. */
export function insertMarks(table: string, marks: readonly DueRanges[]): string {
  const rows = marks.map(
    ({ dueMs, ranges }) => `('${new Date(dueMs).toISOString()}', '${rangesText(ranges)}')`,
  )
  return `insert into ${table} (due_at, minutes) values ${rows.join()}`
}

function dueAt(minute: number, nowMs: number): number {
  const ageMs = nowMs - (minute + 1) * MINUTE_MS
  const waitMs = ageMs < 0 ? SETTLE_MS - ageMs : Math.min(WAIT_MAX_MS, Math.max(SETTLE_MS, ageMs))
  return Math.ceil((nowMs + waitMs) / DUE_STEP_MS) * DUE_STEP_MS
}
