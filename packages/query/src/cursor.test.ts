import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCursor, encodeCursor } from './cursor.ts'

const position = {
  startedUs: '1764266400000123',
  traceId: '019ac678-d900-7000-8000-000000000001',
  direction: 'older' as const,
}
const filters = { skill: 'a', status: ['failed'] }

test('a cursor tells its position again, for the same filters in any order', () => {
  const cursor = encodeCursor(position, filters)
  expect(cursor).toMatch(/^[0-9A-Za-z_-]+$/)
  expect(decodeCursor(cursor, { status: ['failed'], skill: 'a' })).toEqual(position)
  const back = { ...position, direction: 'newer' as const }
  expect(decodeCursor(encodeCursor(back, filters), filters)).toEqual(back)
})

test('a cursor of other filters is refused', () => {
  const cursor = encodeCursor(position, filters)
  for (const other of [{}, { skill: 'a' }, { ...filters, skill: 'b' }, { ...filters, since: 1 }])
    expect(() => decodeCursor(cursor, other)).toThrow(/other filters/)
})

test('anything else is refused, and never breaks anything', () => {
  const good = encodeCursor(position, filters)
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String(),
        fc.json().map((json) => Buffer.from(json).toString('base64url')),
      ),
      (text) => {
        expect(() => decodeCursor(text, filters)).toThrow(/^cursor must be/)
      },
    ),
  )
  const tuple = JSON.parse(Buffer.from(good, 'base64url').toString()) as unknown[]
  for (const [index, value] of [
    [0, 2],
    [0, null],
    [2, '-1'],
    [2, "0'"],
    [2, 1],
    [3, 'x'],
    [3, position.traceId.toUpperCase()],
    [4, 'older'],
  ] as const) {
    const text = Buffer.from(JSON.stringify(Object.assign([...tuple], { [index]: value }))).toString(
      'base64url',
    )
    expect(() => decodeCursor(text, filters)).toThrow(/^cursor must be/)
  }
})
