import { clipped, type MinuteRange, unionOf, wholeOf, widened, without } from '@stepwell/protocol/statistics'

const MINUTE_MS = 60_000

/** Minutes that a rollup is of: a week (seven days since 1970, and only of all skills together), a day, an hour or a minute. */
export const WIDTHS = [10_080, 1_440, 60, 1] as const
export type Width = (typeof WIDTHS)[number]

/** Of what there are rollups, in minutes since 1970; and what was written to since. */
export interface RollupExtent {
  rolledFrom: number
  minutesFrom: number
  hoursUntil: number
  daysUntil: number
  marked: readonly MinuteRange[]
}

/** A time from one millisecond to before another. */
export interface Span {
  fromMs: number
  toMs: number
}

/** What a window is put together from: each of its milliseconds lies in exactly one part. */
export interface Cover {
  rollups: { width: Width; range: MinuteRange }[]
  /** Where the traces themselves are read. */
  traces: Span[]
}

/**
 * Covers a window with rollups, large ones where they fit, no wider than `widest`, and with traces where none do: at its ends, where
 * something was written since, and where nothing is rolled up.
 */
export function coverOf({ fromMs, toMs }: Span, extent: RollupExtent, widest: Width): Cover {
  const marked = unionOf(extent.marked)
  const [first, end] = [Math.ceil(fromMs / MINUTE_MS), Math.floor(toMs / MINUTE_MS)]
  if (first >= end) return { rollups: [], traces: fromMs < toMs ? [{ fromMs, toMs }] : [] }
  let left: MinuteRange[] = [[first, end]]
  const rollups: Cover['rollups'] = []
  for (const width of WIDTHS) {
    if (width > widest) continue
    const [from, until] = boundsOf(extent, width)
    const usable = without(wholeOf(clipped(left, from, until), width), widened(marked, width))
    for (const range of usable) rollups.push({ width, range })
    left = without(left, usable)
  }
  const spans = left.map(([from, to]): Span => ({ fromMs: from * MINUTE_MS, toMs: to * MINUTE_MS }))
  spans.push({ fromMs, toMs: first * MINUTE_MS }, { fromMs: end * MINUTE_MS, toMs })
  return { rollups, traces: joined(spans) }
}

function boundsOf(
  { rolledFrom, minutesFrom, hoursUntil, daysUntil }: RollupExtent,
  width: Width,
): MinuteRange {
  if (width === 1) return [Math.max(rolledFrom, minutesFrom), Number.MAX_SAFE_INTEGER]
  return [rolledFrom, width === 60 ? hoursUntil : daysUntil]
}

/** In order, with those that touch as one. */
function joined(spans: readonly Span[]): Span[] {
  const all: Span[] = []
  for (const span of spans.filter((one) => one.fromMs < one.toMs).sort((a, b) => a.fromMs - b.fromMs)) {
    const last = all.at(-1)
    if (last?.toMs === span.fromMs) last.toMs = span.toMs
    else all.push({ ...span })
  }
  return all
}
