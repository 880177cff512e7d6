import { DatabaseError } from 'pg'
import { expect, it } from 'vitest'
import { isConflict, isMissingPartition, isOfStatement, isTransient, sqlState } from './transient-error.ts'

const failure = (code: string, more: object = {}): Error =>
  Object.assign(new DatabaseError('it is so', 1, 'error'), { severity: 'ERROR', code }, more)

// Those marked are met for real in tests/faults; the others need more than a test may break.
it.each([
  ['08006', 'connection failure'],
  ['08P01', 'what PgBouncer says'],
  ['53100', 'disk full *'],
  ['53200', 'out of memory'],
  ['53300', 'too many connections *'],
  ['57014', 'statement time-out *'],
  ['57P01', 'shut down, or cut *'],
  ['57P02', 'crashed *'],
  ['57P03', 'starting up *'],
  ['40001', 'serialization *'],
  ['40P01', 'deadlock *'],
  ['55P03', 'lock time-out *'],
  ['25006', 'read-only *'],
  ['25P03', 'stood still in a transaction'],
  ['58030', 'I/O error'],
])('%s passes by itself: %s', (code) => {
  expect(isTransient(failure(code))).toBe(true)
  expect(isConflict(failure(code))).toBe(['40001', '40P01', '55P03', '57014'].includes(code))
})

it.each([
  ['22003', 'a number out of range *'],
  ['22P05', 'a character that the encoding lacks'],
  ['23514', 'a violated check, or a missing partition *'],
  ['28000', 'no login *'],
  ['42501', 'no rights *'],
  ['42809', 'something else of that name *'],
  ['42P01', 'no table'],
  ['54000', 'too large'],
])('%s does not: %s', (code) => {
  expect(isTransient(failure(code))).toBe(false)
  expect(isOfStatement(failure(code))).toBe(/^(28|42)/.test(code))
})

it('takes what has no SQLSTATE for the connection, and mistakes of programs for what they are', () => {
  expect(isTransient(new Error('Connection terminated unexpectedly'))).toBe(true)
  // Five characters, and no SQLSTATE.
  const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  expect([sqlState(broken), isTransient(broken)]).toEqual([undefined, true])
  for (const mistake of [new TypeError(), new RangeError(), new SyntaxError(), new ReferenceError()])
    expect(isTransient(mistake)).toBe(false)
})

it('tells a missing partition from a violated check', () => {
  expect(isMissingPartition(failure('23514'))).toBe(true)
  expect(isMissingPartition(failure('23514', { constraint: 'no_poison' }))).toBe(false)
})
