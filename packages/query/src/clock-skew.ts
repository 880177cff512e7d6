import type { Trace } from '@stepwell/protocol'

/** Clocks that are kept in step differ by less, and times are in whole milliseconds. */
const TOLERANCE_MS = 1_000

/** Times of a trace that do not fit together. They are kept as they were recorded: which clock is right cannot be known. */
export interface ClockSkew {
  /** Steps that start before their trace: a clock differs. */
  stepsBefore: number
  /** By how much, at most; milliseconds. */
  beforeMs: number
  /** Steps that start after the end of their trace: a clock differs, or work went on after it. */
  stepsAfter: number
  afterMs: number
  /** By how much the trace ends before it starts: a clock was set. */
  endBeforeStartMs: number
}

/** What does not fit in the times of a trace, by more than a second; undefined if all does. */
export function clockSkew({ startedAt, completedAt, steps }: Trace): ClockSkew | undefined {
  const startMs = startedAt.getTime()
  const endMs = completedAt?.getTime()
  const skew = { stepsBefore: 0, beforeMs: 0, stepsAfter: 0, afterMs: 0, endBeforeStartMs: 0 }
  if (endMs !== undefined && startMs - endMs > TOLERANCE_MS) skew.endBeforeStartMs = startMs - endMs
  const lastMs = endMs === undefined ? Number.POSITIVE_INFINITY : Math.max(startMs, endMs)
  for (const { timestamp } of steps) {
    if (timestamp === undefined) continue
    const beforeMs = startMs - timestamp.getTime()
    const afterMs = timestamp.getTime() - lastMs
    if (beforeMs > TOLERANCE_MS) skew.stepsBefore += 1
    if (afterMs > TOLERANCE_MS) skew.stepsAfter += 1
    skew.beforeMs = Math.max(skew.beforeMs, beforeMs > TOLERANCE_MS ? beforeMs : 0)
    skew.afterMs = Math.max(skew.afterMs, afterMs > TOLERANCE_MS ? afterMs : 0)
  }
  return Object.values(skew).some((value) => value > 0) ? skew : undefined
}
