import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openRecord, openRecords, recordHead } from './open-records.ts'

test('records come back in their order, with what others have put in between', () => {
  const text = fc.json().map((value) => JSON.stringify(JSON.parse(value)))
  const field = fc.tuple(fc.constantFrom('a', 'B-_9'), fc.nat()).map(([producer, n]) => `${producer}:${n}`)
  const records = fc.array(fc.record({ field, text }))
  fc.assert(
    fc.property(records, records, (before, after) => {
      const [first, second] = [before, after].map((some) => some.map(openRecord).join('')) as [string, string]
      expect(openRecords(first + second)).toEqual([...before, ...after])
      expect(openRecords(`${first}\n\nmine${second}`)).toEqual([
        ...before,
        { field: '', text: 'mine' },
        ...after,
      ])
      expect(openRecords(`not ours${first}`)).toEqual([{ field: 'not', text: 'ours' }, ...before])
    }),
  )
  expect(openRecord({ field: 'a:1', text: '{}' })).toBe(`${recordHead('a:1')}{}`)
  expect(openRecords('')).toEqual([])
})
