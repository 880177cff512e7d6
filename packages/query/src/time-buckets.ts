import type { Span, Width } from './rollup-cover.ts'
import { WIDTHS } from './rollup-cover.ts'

const MINUTE_MS = 60_000
const DAY_MS = 1_440 * MINUTE_MS
/** 1970 began on a Thursday, weeks begin on Mondays. */
const FIRST_MONDAY_MS = 4 * DAY_MS

/** Names of lengths, in milliseconds. Of days and weeks as of all: in UTC. */
export const BUCKET_LENGTHS = {
  minute: MINUTE_MS,
  hour: 60 * MINUTE_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
} as const

/** How a window is cut: where each piece of it begins and ends. Pieces begin at multiples of their length, the first and last are cut by the window. */
export interface TimeBuckets {
  readonly spans: readonly Span[]
  /** The place in `spans` of a time in the window. */
  indexOf(timeMs: number): number
}

/** Cuts a window into pieces of so many milliseconds. */
export function cutWindow({ fromMs, toMs }: Span, lengthMs: number): TimeBuckets {
  const offsetMs = originOf(lengthMs)
  const first = Math.floor((fromMs - offsetMs) / lengthMs)
  const spans: Span[] = []
  for (let i = first; i * lengthMs + offsetMs < toMs; i++) {
    const beginMs = i * lengthMs + offsetMs
    spans.push({ fromMs: Math.max(fromMs, beginMs), toMs: Math.min(toMs, beginMs + lengthMs) })
  }
  return {
    spans,
    // A rollup begins where its bucket does, at or after the window.
    indexOf: (timeMs) => Math.floor((timeMs - offsetMs) / lengthMs) - first,
  }
}

/** How many pieces that would be, at most. */
export const pieceCount = ({ fromMs, toMs }: Span, lengthMs: number): number =>
  Math.ceil((toMs - fromMs) / lengthMs) + 1

const originOf = (lengthMs: number): number => (lengthMs % (7 * DAY_MS) === 0 ? FIRST_MONDAY_MS : 0)

/** Minutes of the widest rollups that lie in one piece each. */
export function widestWithin(lengthMs: number | undefined): Width {
  if (lengthMs === undefined) return WIDTHS[0]
  // Weeks of rollups do not begin on Mondays.
  return WIDTHS.slice(1).find((one) => lengthMs % (one * MINUTE_MS) === 0) ?? 1
}
