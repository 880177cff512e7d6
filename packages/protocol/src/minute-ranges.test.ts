import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  clipped,
  type MinuteRange,
  parseRanges,
  rangesText,
  unionOf,
  wholeOf,
  widened,
  without,
} from './minute-ranges.ts'

const minute = fc.integer({ min: 0, max: 60 })
const ranges = fc.array(fc.tuple(minute, minute), { maxLength: 8 })
const minutesOf = (list: readonly MinuteRange[]): number[] => {
  const minutes = new Set<number>()
  for (const [from, to] of list) for (let m = from; m < to; m++) minutes.add(m)
  return [...minutes].sort((a, b) => a - b)
}
/** Whatever it is made of, it is sorted and has gaps between its parts. */
const isTidy = (list: readonly MinuteRange[]): boolean =>
  list.every(([from, to], i) => from < to && (i === 0 || (list[i - 1] as MinuteRange)[1] < from))

it('does with ranges what one does with the minutes in them', () => {
  fc.assert(
    fc.property(ranges, ranges, minute, minute, (a, b, from, to) => {
      const [x, y] = [unionOf(a), unionOf(b)]
      expect(minutesOf(x)).toEqual(minutesOf(a))
      expect(minutesOf(without(x, y))).toEqual(minutesOf(a).filter((m) => !minutesOf(b).includes(m)))
      expect(minutesOf(clipped(x, from, to))).toEqual(minutesOf(a).filter((m) => m >= from && m < to))
      const hours = new Set(minutesOf(a).map((m) => Math.floor(m / 7)))
      const whole = [...hours].flatMap((h) => Array.from({ length: 7 }, (_, i) => h * 7 + i))
      expect(minutesOf(widened(x, 7))).toEqual(whole)
      const full = [...hours].filter((h) =>
        Array.from({ length: 7 }, (_, i) => h * 7 + i).every((m) => minutesOf(a).includes(m)),
      )
      expect(minutesOf(wholeOf(x, 7))).toEqual(
        full.flatMap((h) => Array.from({ length: 7 }, (_, i) => h * 7 + i)),
      )
      for (const list of [x, without(x, y), clipped(x, from, to), widened(x, 7)])
        expect(isTidy(list)).toBe(true)
      expect(parseRanges(rangesText(x))).toEqual(x)
    }),
  )
})

it('reads what Postgres prints', () => {
  expect(parseRanges('{}')).toEqual([])
  expect(parseRanges('{[29401920,29401921),[29401925,29401930)}')).toEqual([
    [29401920, 29401921],
    [29401925, 29401930],
  ])
})
