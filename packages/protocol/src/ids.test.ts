import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  compareStepIds,
  EARLIEST_START_MS,
  newProducerId,
  newTraceId,
  PRODUCER_ID,
  parseStepId,
  parseTraceId,
  producerOfStep,
  STEP_ID_TEXT,
  tellsStart,
  traceIdStart,
} from './ids.ts'

const LATEST_MS = 2 ** 48 - 1
const start = fc.double({ min: EARLIEST_START_MS, max: LATEST_MS, noNaN: true })

test('a trace id has the layout of a UUIDv7', () => {
  fc.assert(
    fc.property(start, (ms) => {
      expect(newTraceId(ms)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    }),
  )
})

test('a trace id tells the whole milliseconds of its start', () => {
  fc.assert(
    fc.property(start, (ms) => {
      expect(traceIdStart(newTraceId(ms))).toBe(Math.floor(ms))
    }),
  )
  expect(traceIdStart(newTraceId(1_764_266_400_000.999))).toBe(1_764_266_400_000)
})

test('every digit of a trace id takes all its values', () => {
  const ids = Array.from({ length: 2_000 }, (_, i) => newTraceId(i * (LATEST_MS / 2_000)))
  const digits = '0123456789abcdef'
  // Counters begin in their lower 24 bits.
  const some: Record<number, string> = { 8: '-', 13: '-', 14: '7', 15: '0123', 18: '-', 19: '89ab', 23: '-' }
  for (let at = 0; at < 36; at++) {
    const values = new Set(ids.map((id) => id[at]))
    expect([at, [...values].sort().join('')]).toEqual([at, some[at] ?? digits])
  }
})

test('ids of one millisecond are different and sort in the order in which they were made', () => {
  const ids = Array.from({ length: 10_000 }, () => newTraceId(1_764_266_400_000))
  expect(ids).toEqual([...ids].sort())
  expect(new Set(ids).size).toBe(ids.length)
})

test('ids are different although the clock goes back and forth', () => {
  const ids = Array.from({ length: 10_000 }, (_, i) => newTraceId(1_764_266_400_000 + (i % 2)))
  expect(new Set(ids).size).toBe(ids.length)
})

test('the example of RFC 9562 tells its time', () => {
  expect(traceIdStart('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')).toBe(Date.UTC(2022, 1, 22, 19, 22, 22))
})

test('ids of other versions, and times before 2000, tell no start', () => {
  expect(traceIdStart('919108f7-52d1-4320-9bac-f847db4148a8')).toBeUndefined()
  expect(traceIdStart(newTraceId(EARLIEST_START_MS))).toBe(EARLIEST_START_MS)
  expect(traceIdStart(newTraceId(EARLIEST_START_MS - 1))).toBeUndefined()
})

test('whether a trace id tells its start is known without finding out which', () => {
  const ms = fc.oneof(
    fc.constantFrom(0, EARLIEST_START_MS - 1, EARLIEST_START_MS, EARLIEST_START_MS + 1, LATEST_MS),
    fc.integer({ min: 0, max: 2 * EARLIEST_START_MS }),
  )
  const id = fc.oneof(ms.map(newTraceId), fc.uuid())
  fc.assert(
    fc.property(id, (one) => {
      expect(tellsStart(one)).toBe(traceIdStart(one) !== undefined)
    }),
  )
})

test('a trace id is any UUID, in lower case', () => {
  expect(parseTraceId('017F22E2-79B0-7CC3-98C4-DC0C0C07398F')).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
  expect(parseTraceId('00000000-0000-0000-0000-000000000000')).toBeDefined()
  for (const text of [
    '',
    'exec-1',
    '017f22e279b07cc398c4dc0c0c07398f',
    '{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}',
    ' 017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n',
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398g',
  ])
    expect(parseTraceId(text)).toBeUndefined()
})

test('producer ids are different and look like producer ids', () => {
  const ids = Array.from({ length: 1_000 }, newProducerId)
  for (const id of ids) expect(id).toMatch(/^[0-9A-Za-z]{12}$/)
  for (const id of ids) expect(id).toMatch(PRODUCER_ID)
  expect(new Set(ids).size).toBe(ids.length)
})

const stepId = fc.oneof(
  fc.integer({ min: 1 }),
  fc.stringMatching(/^[0-9A-Za-z_-]{1,32}\.[1-9][0-9]{0,14}$/),
  fc.stringMatching(/^[A-Za-z é]{1,64}$/),
)

test('step ids have one order, and only equal ones are equal in it', () => {
  fc.assert(
    fc.property(fc.array(stepId, { maxLength: 12 }), stepId, stepId, stepId, (ids, a, b, c) => {
      expect(Math.sign(compareStepIds(a, b))).toBe(0 - Math.sign(compareStepIds(b, a)))
      expect(compareStepIds(a, b) === 0).toBe(a === b)
      if (compareStepIds(a, b) <= 0 && compareStepIds(b, c) <= 0)
        expect(compareStepIds(a, c)).toBeLessThanOrEqual(0)
      expect([...ids].reverse().sort(compareStepIds)).toEqual([...ids].sort(compareStepIds))
    }),
  )
})

test('steps sort by number, then text, then by producer and number', () => {
  const ids = ['b.2', 10, 'load', 'a.10', 'a.9', 2, 'b.1']
  expect(ids.sort(compareStepIds)).toEqual([2, 10, 'load', 'a.9', 'a.10', 'b.1', 'b.2'])
})

test('a step id in a text column comes back as it was', () => {
  fc.assert(
    fc.property(stepId, (id) => {
      expect(parseStepId(String(id))).toBe(id)
    }),
  )
})

test('the producer of a step is in its id', () => {
  expect([3, 'load', 'a-B_9.12'].map(producerOfStep)).toEqual(['', '', 'a-B_9'])
})

test('what is no step id is refused', () => {
  for (const text of ['a.1', 'a_-9.999999999999999', 'load', 'é 😀', '1a', '𝟙'])
    expect(text).toMatch(STEP_ID_TEXT)
  for (const text of [
    '',
    '1',
    '007',
    'a.',
    '.1',
    'a.0',
    'a.01',
    'a.b',
    'a.1.2',
    'a\0',
    'a\n',
    '\ud800',
    'x'.repeat(65),
  ])
    expect(text).not.toMatch(STEP_ID_TEXT)
})
