import type { MinuteRange } from '@stepwell/protocol/statistics'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { coverOf, type RollupExtent, WIDTHS } from './rollup-cover.ts'

const MINUTE_MS = 60_000
const WEEK = 10_080
// Some weeks around a day of 2026, so that all widths come up.
const BEGIN = 2_950 * WEEK
const minute = fc.integer({ min: BEGIN, max: BEGIN + 4 * WEEK })
const time = fc.tuple(minute, fc.constantFrom(0, 0, 1, 59_999)).map(([m, ms]) => m * MINUTE_MS + ms)
const hour = minute.map((m) => Math.floor(m / 60) * 60)
const day = minute.map((m) => Math.floor(m / 1_440) * 1_440)

const extent: fc.Arbitrary<RollupExtent> = fc.record({
  rolledFrom: fc.oneof(fc.constant(0), hour),
  minutesFrom: day,
  hoursUntil: hour,
  daysUntil: day,
  marked: fc.array(
    fc
      .tuple(minute, fc.integer({ min: 1, max: 90 }))
      .map(([from, length]): MinuteRange => [from, from + length]),
    { maxLength: 4 },
  ),
})

it('covers every millisecond of the window once, by what can be believed there', () => {
  fc.assert(
    fc.property(time, time, extent, fc.constantFrom(...WIDTHS), (a, b, known, widest) => {
      const window = { fromMs: Math.min(a, b), toMs: Math.max(a, b) }
      const { rollups, traces } = coverOf(window, known, widest)
      const spans = [
        ...rollups.map(({ range: [from, to] }) => ({ fromMs: from * MINUTE_MS, toMs: to * MINUTE_MS })),
        ...traces,
      ].sort((x, y) => x.fromMs - y.fromMs)
      let at = window.fromMs
      for (const { fromMs, toMs } of spans) {
        expect(fromMs).toBe(at)
        expect(toMs).toBeGreaterThan(fromMs)
        at = toMs
      }
      expect(at).toBe(window.toMs)
      for (const { width, range } of rollups) {
        const [from, to] = range
        expect(width).toBeLessThanOrEqual(widest)
        expect([from % width, to % width]).toEqual([0, 0])
        expect(from).toBeGreaterThanOrEqual(known.rolledFrom)
        if (width === 1) expect(from).toBeGreaterThanOrEqual(known.minutesFrom)
        else expect(to).toBeLessThanOrEqual(width === 60 ? known.hoursUntil : known.daysUntil)
        expect(known.marked.some(([begin, end]) => begin < to && end > from)).toBe(false)
      }
    }),
  )
})
