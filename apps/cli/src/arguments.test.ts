import { expect, test } from 'vitest'
import { isoTime, parseTime } from './arguments.ts'

test('a day that no month has is no time, and not one of the next month', () => {
  for (const day of ['2026-02-30', '2026-04-31', '2026-02-29', '2026-11-00', '2026-13-01']) {
    expect(isoTime(day), day).toBeUndefined()
    expect(isoTime(`${day}T09:30:00+02:00`), day).toBeUndefined()
    expect(() => parseTime(day)).toThrow(`'${day}' is no time`)
  }
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
