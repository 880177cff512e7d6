import { InvalidInputError } from '@stepwell/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  bySkillSchema,
  explainSchema,
  failureGroupSchema,
  failureGroupsSchema,
  findSchema,
  parseInput,
  runningSchema,
  similarSchema,
  skillStatsSchema,
  skillsSchema,
  stepStatsSchema,
  stuckSchema,
} from './input.ts'

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

test('whatever comes, it is read or refused with a sentence of ours', () => {
  const schemas = {
    ...{ findSchema, bySkillSchema, similarSchema, failureGroupsSchema, failureGroupSchema, explainSchema },
    ...{ runningSchema, stuckSchema, skillsSchema, skillStatsSchema, stepStatsSchema },
  }
  const key = fc.constantFrom(
    ...['skill', 'status', 'since', 'until', 'minDurationMs', 'metadata', 'limit', 'cursor', 'newSince'],
    ...['startDate', 'threshold', 'baseline', 'sample', 'rate', 'quantile', 'bucket', 'x'],
  )
  const odd = fc.oneof(
    fc.anything({ withDate: true, withMap: true, withBigInt: true }),
    fc.constantFrom('2099-01-01', '2001-01-01', 'minute', -1, 0.5, Number.NaN),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...(Object.keys(schemas) as (keyof typeof schemas)[])),
      fc.oneof(fc.dictionary(key, odd), fc.anything()),
      (schema, value) => {
        try {
          parseInput<unknown>(schemas[schema], value, 'options')
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidInputError)
          expect((error as Error).message).toMatch(/^\w[\w.]* (must|does not know) \S/)
        }
      },
    ),
    { numRuns: 3_000 },
  )
})

test('a window that ends before it starts is refused, whichever end is left out', () => {
  const future = new Date(Date.now() + 86_400_000)
  for (const schema of [skillStatsSchema, explainSchema])
    expect(() => parseInput<unknown>(schema, { since: future }, 'options')).toThrow(
      /^since must not be after until$/,
    )
  const reversed = { since: '2026-02-01', until: '2026-01-01' }
  for (const schema of [findSchema, similarSchema, skillsSchema, skillStatsSchema, failureGroupsSchema])
    expect(() => parseInput<unknown>(schema, reversed, 'options')).toThrow(/^since must not be after until$/)
})

test('a day that its month does not have is refused, and an empty list of statuses', () => {
  for (const day of ['2026-02-30', '2026-02-29T10:00:00Z', '2026-04-31T00:00+01:00'])
    expect(() => find({ since: day })).toThrow(/^since must be a valid date/)
  expect(find({ since: '2028-02-29T23:00:00-02:00' }).since).toEqual(new Date('2028-03-01T01:00Z'))
  expect(() => find({ status: [] })).toThrow(/^status must be one of running, .*, or a list of them$/)
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

test('a text is a time as ISO 8601 writes it, in UTC without an offset; whatever else Date would take for one is refused', () => {
  const times = ['2026-11-24', '2026-11-24T00:00', '2026-11-24 00:00:00.000', '2026-11-24T01:00+01:00']
  for (const since of times) expect(find({ since }).since, since).toEqual(new Date('2026-11-24T00:00:00Z'))
  for (const since of ['1', 'run 3', 'Nov 24 2026', '11/24/2026', '', '2026-02-30'])
    expect(() => find({ since }), since).toThrow('since must be a valid date')
})
