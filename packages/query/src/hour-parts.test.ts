import type { MinuteRange } from '@stepwell/protocol/statistics'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { partialHours, withoutParts } from './hour-parts.ts'
import type { RollupExtent, Span } from './rollup-cover.ts'

const MINUTE_MS = 60_000
const BEGIN = 29_700_000
const minute = fc.integer({ min: BEGIN, max: BEGIN + 300 })
const time = fc.tuple(minute, fc.constantFrom(0, 0, 1, 59_999)).map(([m, ms]) => m * MINUTE_MS + ms)
const spans = fc
  .uniqueArray(time, { maxLength: 6 })
  .map((times) => times.toSorted((a, b) => a - b))
  .map((times) =>
    Array.from({ length: times.length >> 1 }, (_, i): Span => {
      const [fromMs, toMs] = times.slice(2 * i) as [number, number]
      return { fromMs, toMs }
    }),
  )
const extent: fc.Arbitrary<RollupExtent> = fc.record({
  rolledFrom: fc.oneof(fc.constant(0), minute),
  minutesFrom: minute,
  hoursUntil: minute.map((m) => Math.floor(m / 60) * 60),
  daysUntil: minute,
  marked: fc.array(
    minute.map((from): MinuteRange => [from, from + 5]),
    { maxLength: 2 },
  ),
})

it('takes whole parts of hours that can be believed, and leaves the rest, each millisecond once', () => {
  fc.assert(
    fc.property(spans, extent, (all, known) => {
      const hours = partialHours(all, known)
      const taken = hours.flatMap(({ hour, parts }) =>
        parts.map((i) => ({
          fromMs: (hour + i * 15) * MINUTE_MS,
          toMs: (hour + (i + 1) * 15) * MINUTE_MS,
        })),
      )
      const together = [...taken, ...withoutParts(all, hours)].sort((a, b) => a.fromMs - b.fromMs)
      for (const { fromMs, toMs } of all) {
        let at = fromMs
        for (const part of together.filter((one) => one.fromMs >= fromMs && one.toMs <= toMs)) {
          expect(part.fromMs).toBe(at)
          at = part.toMs
        }
        expect(at).toBe(toMs)
      }
      const length = (list: readonly Span[]): number =>
        list.reduce((sum, one) => sum + one.toMs - one.fromMs, 0)
      expect(length(together)).toBe(length(all))
      for (const { hour } of hours) {
        expect(hour).toBeGreaterThanOrEqual(known.rolledFrom)
        expect(hour + 60).toBeLessThanOrEqual(known.hoursUntil)
        expect(known.marked.some(([from, to]) => from < hour + 60 && to > hour)).toBe(false)
      }
    }),
  )
})

it('takes three quarters of an hour from its middle on', () => {
  const known = { rolledFrom: 0, minutesFrom: 0, hoursUntil: BEGIN + 60, daysUntil: 0, marked: [] }
  const span = { fromMs: (BEGIN + 10) * MINUTE_MS, toMs: (BEGIN + 60) * MINUTE_MS }
  const hours = partialHours([span], known)
  expect(hours).toEqual([{ hour: BEGIN, parts: [1, 2, 3] }])
  expect(withoutParts([span], hours)).toEqual([{ fromMs: span.fromMs, toMs: (BEGIN + 15) * MINUTE_MS }])
})
