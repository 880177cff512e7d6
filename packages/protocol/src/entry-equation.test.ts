import { expect, test } from 'vitest'
import { entryEquation, unreadEntries } from './entry-equation.ts'

const group = (fields: Record<string, unknown>): unknown[] =>
  Object.entries({ name: 'stepwell', pending: 2, ...fields }).flat()

test('added = stored + dead + pending + unread, and what is left is unaccounted for', () => {
  const groups = [['name', 'other', 'pending', 9, 'lag', 9], group({ lag: 3, 'entries-read': 27 })]
  const counts = ['stored', '20', 'dead', '4']
  expect(entryEquation({ groups, counts })).toEqual({
    added: 30,
    stored: 20,
    dead: 4,
    pending: 2,
    unread: 3,
    unaccounted: 1,
  })
  expect(entryEquation({ groups, counts: { stored: '25' } })?.unaccounted).toBe(0)
})

test('there is no equation without a group, a lag, or a count of what came', () => {
  expect(entryEquation({ groups: [], counts: [] })).toBeUndefined()
  expect(entryEquation({ groups: undefined, counts: [] })).toBeUndefined()
  expect(entryEquation({ groups: [group({ lag: null })], counts: [] })).toBeUndefined()
  expect(entryEquation({ groups: [group({ lag: 0 })], counts: [] })).toBeUndefined()
})

test('a group that has read nothing yet says how much there is', () => {
  const fresh = { pending: 0, 'last-delivered-id': '0-0', 'entries-read': null, lag: 7 }
  expect(entryEquation({ groups: [group(fresh)], counts: [] })).toMatchObject({ added: 7, unaccounted: 0 })
})

const map = (fields: Record<string, unknown>): Map<string, unknown> => new Map(Object.entries(fields))

test('what is unread is told by the lag, else by the share of the stream that is younger than what was read', () => {
  const whole = map({ length: 100, 'first-entry': ['1000-0', []], 'last-generated-id': '1999-5' })
  expect(unreadEntries(map({ lag: 7 }), whole)).toBe(7)
  expect(unreadEntries(map({ 'last-delivered-id': '1999-5' }), whole)).toBe(0)
  expect(unreadEntries(map({ 'last-delivered-id': '1500-0' }), whole)).toBe(50)
  expect(unreadEntries(map({ 'last-delivered-id': '0-0' }), whole)).toBe(100)
  expect(unreadEntries(map({ 'last-delivered-id': '5-0' }), map({ length: 0, 'first-entry': null }))).toBe(0)
})
