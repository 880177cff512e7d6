import { expect, test } from 'vitest'
import { replyFields } from './redis-reply.ts'

test('a list of names and values, and a map, are the same', () => {
  const fields = new Map<string, unknown>([
    ['name', 'stepwell'],
    ['lag', 3],
  ])
  expect(replyFields(['name', 'stepwell', 'lag', 3])).toEqual(fields)
  expect(replyFields({ name: 'stepwell', lag: 3 })).toEqual(fields)
  expect(replyFields([])).toEqual(new Map())
})
