import { PART_MINUTES } from '@stepwell/protocol/statistics'
import type { RollupExtent, Span } from './rollup-cover.ts'

const MINUTE_MS = 60_000
const HOUR = 60
const HOUR_MS = HOUR * MINUTE_MS
const PART_MS = PART_MINUTES * MINUTE_MS

/** Whole parts of an hour that are wanted. */
export interface PartialHour {
  /** The minute since 1970 that the hour begins with. */
  hour: number
  /** Their numbers, from 0 on. */
  parts: number[]
}

/** The hours of which rollups are what the traces are, and of which these spans have a whole part, at least. */
export function partialHours(spans: readonly Span[], extent: RollupExtent): PartialHour[] {
  return spans.flatMap(({ fromMs, toMs }) => {
    const hours: PartialHour[] = []
    for (let hourMs = Math.floor(fromMs / HOUR_MS) * HOUR_MS; hourMs < toMs; hourMs += HOUR_MS) {
      const hour = hourMs / MINUTE_MS
      const isRolled =
        hour >= extent.rolledFrom &&
        hour + HOUR <= extent.hoursUntil &&
        !extent.marked.some(([from, to]) => from < hour + HOUR && to > hour)
      const parts = [0, 1, 2, 3].filter((i) => {
        const beginMs = hourMs + i * PART_MS
        return beginMs >= fromMs && beginMs + PART_MS <= toMs
      })
      if (isRolled && parts.length > 0) hours.push({ hour, parts })
    }
    return hours
  })
}

/** What is left of these spans without the parts of these hours. */
export function withoutParts(spans: readonly Span[], hours: readonly PartialHour[]): Span[] {
  const taken = hours.flatMap(({ hour, parts }) =>
    parts.map((i): Span => {
      const fromMs = hour * MINUTE_MS + i * PART_MS
      return { fromMs, toMs: fromMs + PART_MS }
    }),
  )
  let left = [...spans]
  for (const { fromMs, toMs } of taken)
    left = left
      .flatMap((span) =>
        span.fromMs <= fromMs && toMs <= span.toMs
          ? [
              { fromMs: span.fromMs, toMs: fromMs },
              { fromMs: toMs, toMs: span.toMs },
            ]
          : span,
      )
      .filter((span) => span.fromMs < span.toMs)
  return left
}
