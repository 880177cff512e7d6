import type { MinuteRange } from '@stepwell/protocol/statistics'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { coverOfAll } from './overview-cover.ts'
import { type RollupExtent, type Span, WIDTHS } from './rollup-cover.ts'

const MINUTE_MS = 60_000
const WEEK = 10_080
const BEGIN = 2_950 * WEEK
const minute = fc.integer({ min: BEGIN, max: BEGIN + 4 * WEEK })
const time = fc.tuple(minute, fc.constantFrom(0, 1)).map(([m, ms]) => m * MINUTE_MS + ms)
const extent: fc.Arbitrary<RollupExtent> = fc.record({
  rolledFrom: fc.oneof(fc.constant(0), minute),
  minutesFrom: minute,
  hoursUntil: minute.map((m) => Math.floor(m / 60) * 60),
  daysUntil: minute.map((m) => Math.floor(m / 1_440) * 1_440),
  marked: fc.array(
    minute.map((from): MinuteRange => [from, from + 70]),
    { maxLength: 3 },
  ),
})

function expectOnce(spans: readonly Span[], { fromMs, toMs }: Span): void {
  let at = fromMs
  for (const span of spans.toSorted((a, b) => a.fromMs - b.fromMs)) {
    expect(span.fromMs).toBe(at)
    at = span.toMs
  }
  expect(at).toBe(toMs)
}

it('covers every millisecond once skill by skill, and once piece by piece by what lies in one piece', () => {
  fc.assert(
    fc.property(time, time, extent, fc.constantFrom(undefined, 1_440, 60, 1), (a, b, known, widest) => {
      const window = { fromMs: Math.min(a, b), toMs: Math.max(a, b) }
      const { overviews, traces } = coverOfAll(window, known, widest)
      const spans = overviews.map(({ range: [from, to], ...part }) => ({
        ...part,
        fromMs: from * MINUTE_MS,
        toMs: to * MINUTE_MS,
      }))
      expectOnce(
        [...spans, ...traces].filter(({ isBySkill }) => isBySkill),
        window,
      )
      const byTime = spans.filter(({ isByTime }) => isByTime)
      if (widest === undefined) expect(byTime).toEqual([])
      else expectOnce([...byTime, ...traces], window)
      for (const { width } of byTime) expect(width).toBeLessThanOrEqual(widest ?? 0)
    }),
  )
})

it('takes the largest skill by skill, and of what is in them the sums', () => {
  const known: RollupExtent = {
    ...{ rolledFrom: 0, minutesFrom: 0, marked: [] },
    ...{ hoursUntil: BEGIN + WEEK, daysUntil: BEGIN + WEEK },
  }
  const window = { fromMs: BEGIN * MINUTE_MS, toMs: (BEGIN + WEEK) * MINUTE_MS }
  const range = [BEGIN, BEGIN + WEEK]
  expect(coverOfAll(window, known, 60).overviews).toEqual([
    { width: WIDTHS[0], range, isBySkill: true, isByTime: false },
    { width: 60, range, isBySkill: false, isByTime: true },
  ])
})
