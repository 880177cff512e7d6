import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addMonths, isoTime, monthBounds, monthOf, monthOfPartition, partitionName } from './months.ts'

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

test('a time of any offset is read, UTC without one', () => {
  const times = {
    '2028-02-29': '2028-02-29T00:00:00.000Z',
    '2026-11-24 09:30': '2026-11-24T09:30:00.000Z',
    '2026-12-31T23:30:00-0100': '2027-01-01T00:30:00.000Z',
    '2026-03-01T00:30:00,5+02:00': '2026-02-28T22:30:00.500Z',
  }
  for (const [text, time] of Object.entries(times)) expect(isoTime(text)?.toISOString(), text).toBe(time)
})

test('a day that no month has is no time, and not one of the next month', () => {
  for (const day of ['2026-02-30', '2026-04-31', '2026-02-29', '2026-11-00', '2026-13-01']) {
    expect(isoTime(day), day).toBeUndefined()
    expect(isoTime(`${day}T09:30:00+02:00`), day).toBeUndefined()
  }
})
