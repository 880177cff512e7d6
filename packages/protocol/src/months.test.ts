import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addMonths, monthBounds, monthOf, monthOfPartition, partitionName } from './months.ts'

const time = fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2999, 11, 31) })

test('a month holds its times: from the first millisecond to the one before the next month', () => {
  fc.assert(
    fc.property(time, (ms) => {
      const { fromMs, toMs } = monthBounds(monthOf(ms))
      expect(fromMs).toBeLessThanOrEqual(ms)
      expect(ms).toBeLessThan(toMs)
      expect(monthOf(fromMs)).toEqual(monthOf(ms))
      expect(monthOf(toMs - 1)).toEqual(monthOf(ms))
      expect(monthOf(toMs)).toEqual(addMonths(monthOf(ms), 1))
    }),
  )
})

test('the year turns in UTC', () => {
  const turn = Date.UTC(2026, 0, 1)
  expect(monthOf(turn - 1)).toEqual({ year: 2025, month: 12 })
  expect(monthOf(turn)).toEqual({ year: 2026, month: 1 })
  expect(monthBounds({ year: 2025, month: 12 }).toMs).toBe(turn)
  expect(addMonths({ year: 2025, month: 12 }, 1)).toEqual({ year: 2026, month: 1 })
  expect(addMonths({ year: 2026, month: 1 }, -1)).toEqual({ year: 2025, month: 12 })
  expect(addMonths({ year: 2025, month: 11 }, -35)).toEqual({ year: 2022, month: 12 })
})

test('a leap day lies in its February', () => {
  const { fromMs, toMs } = monthBounds(monthOf(Date.UTC(2028, 1, 29, 23, 59, 59, 999)))
  expect((toMs - fromMs) / 86_400_000).toBe(29)
})

test('adding and taking away months leads back', () => {
  fc.assert(
    fc.property(time, fc.integer({ min: -500, max: 500 }), (ms, count) => {
      const month = monthOf(ms)
      expect(addMonths(addMonths(month, count), -count)).toEqual(month)
    }),
  )
})

test("a partition's name tells its month", () => {
  expect(partitionName({ year: 2025, month: 1 })).toBe('execution_traces_2025_01')
  fc.assert(
    fc.property(time, (ms) => {
      expect(monthOfPartition(partitionName(monthOf(ms)))).toEqual(monthOf(ms))
    }),
  )
})

test('other tables are no partitions of ours', () => {
  for (const name of [
    'execution_traces',
    'execution_traces_2025_13',
    'execution_traces_2025_00',
    'execution_traces_2025_1',
    'execution_traces_2025_11_old',
    'my_execution_traces_2025_11',
    '',
  ])
    expect(monthOfPartition(name)).toBeUndefined()
})
