import { expect, test } from 'vitest'
import { parseTime } from './arguments.ts'

test('a day that no month has is no time, and not one of the next month', () => {
  for (const day of ['2026-02-30', '2026-04-31', '2026-02-29', '2026-11-00', '2026-13-01']) {
    expect(() => parseTime(day)).toThrow('Write a time: ')
  }
})
