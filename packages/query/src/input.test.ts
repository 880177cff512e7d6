import { InvalidInputError } from '@stepwell/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bySkillSchema, findSchema, parseInput, similarSchema, skillsSchema } from './input.ts'

const find = (filters: unknown) => parseInput(findSchema, filters, 'filters')

test('what is left out has its default', () => {
  const before = Date.now()
  const { startDate, endDate, limit } = parseInput(bySkillSchema, {}, 'options')
  expect(limit).toBe(100)
  expect(endDate.getTime()).toBeGreaterThanOrEqual(before)
  expect(endDate.getTime() - startDate.getTime()).toBeCloseTo(30 * 86_400_000, -2)
  expect(parseInput(similarSchema, {}, 'options')).toEqual({ limit: 10, threshold: 0.3 })
  expect(parseInput(skillsSchema, {}, 'options')).toMatchObject({ limit: 100 })
  expect(find({})).toEqual({ limit: 100 })
})

test('whatever comes, it is read or refused with a sentence', () => {
  const key = fc.constantFrom(
    'skill',
    'status',
    'since',
    'until',
    'minDurationMs',
    'metadata',
    'limit',
    'cursor',
    'x',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.dictionary(key, fc.anything({ withDate: true, withMap: true, withBigInt: true })),
        fc.anything(),
      ),
      (value) => {
        try {
          find(value)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidInputError)
          expect((error as Error).message).toMatch(/^\w[\w.]* \S/)
        }
      },
    ),
    { numRuns: 1_000 },
  )
})

describe('metadata', () => {
  test('is looked for as it would be stored', () => {
    expect(find({ metadata: { a: [1, { b: null }], 'c\ud800': '😀' } }).metadata).toBe(
      '{"a":[1,{"b":null}],"c\uFFFD":"😀"}',
    )
  })

  test('that is no JSON, holds NUL or nests without end is refused', () => {
    let deep: unknown = {}
    for (let i = 0; i < 100_000; i++) deep = { deep }
    const circle: Record<string, unknown> = {}
    circle.circle = circle
    const refused: [unknown, string][] = [
      ['env', 'must be an object'],
      [[], 'must be an object'],
      [null, 'must be an object'],
      [{ a: undefined }, 'must be JSON'],
      [{ a: 1n }, 'must be JSON'],
      [{ a: Number.NaN }, 'must be JSON'],
      [{ a: new Date() }, 'must be JSON'],
      [{ a: new Map() }, 'must be JSON'],
      [{ a: { 'b\0': 1 } }, 'must not contain a NUL'],
      [deep, 'must nest at most 100 deep'],
      [circle, 'must nest at most 100 deep'],
    ]
    for (const [metadata, why] of refused) expect(() => find({ metadata })).toThrow(`metadata ${why}`)
  })
})

test('durations out of order are refused', () => {
  expect(() => find({ minDurationMs: 2, maxDurationMs: 1 })).toThrow(
    'minDurationMs must not be more than maxDurationMs',
  )
})
