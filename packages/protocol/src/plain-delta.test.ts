import fc from 'fast-check'
import { expect, test } from 'vitest'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { isPlainDelta } from './plain-delta.ts'
import { deltaSchema } from './schema.ts'

/** What a place of a delta might hold that it should not, or just may. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', 'x', 0, -0, 1, 2, 3, -1, 0.5, 1e13, 1.1e13, -1e14, 1e300, 2 ** 53),
  fc.constantFrom<unknown>(
    [],
    {},
    [1],
    [1, 1],
    [null],
    ['s'],
    ['s', null, null],
    ['x', 0, 0],
    [[1, 'a']],
    [[0, 'a']],
  ),
  fc.constantFrom<unknown>(
    'a'.repeat(255),
    'a'.repeat(256),
    'a'.repeat(16_384),
    'a'.repeat(16_385),
    '1',
    'a.1',
    'a.b',
  ),
  fc.constantFrom<unknown>('019AC678-D900-7000-8000-000000000001', '019ac678-d900-7000-8000-000000000001'),
  fc.constantFrom(99, 100, 101).map((depth) => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)),
  fc.jsonValue(),
)

/** A delta that one place was changed of, removed from or added to. */
const nearlyDelta = fc
  .tuple(saidOfOneTrace, fc.nat(), fc.nat(), odd, fc.constantFrom('replace', 'remove', 'add'))
  .map(([said, at, inStep, value, how]) => {
    const delta = JSON.parse(JSON.stringify(said[0]?.delta))
    const lists = [delta, ...Object.values(delta).filter(Array.isArray), ...(delta.s ?? [])]
    const target = lists[at % lists.length]
    const keys = Object.keys(target)
    const key = keys[inStep % Math.max(1, keys.length)]
    if (how === 'add' || key === undefined) {
      if (Array.isArray(target)) target.push(value)
      else target[['q', 'at', 'h', 'toString'][inStep % 4] as string] = value
    } else if (how === 'replace') target[key] = value
    else if (Array.isArray(target)) target.splice(Number(key), 1)
    else delete target[key]
    return delta as unknown
  })

test('what passes by hand is what the schema takes, and gives back as it is', () => {
  let passed = 0
  let refused = 0
  fc.assert(
    fc.property(nearlyDelta, (value) => {
      const parsed = deltaSchema.safeParse(value)
      if (!isPlainDelta(value)) {
        refused += Number(!parsed.success)
        return
      }
      passed += 1
      expect(parsed.error?.issues).toBeUndefined()
      expect(parsed.data).toEqual(value)
    }),
    { numRuns: 5_000 },
  )
  // It draws both.
  expect(passed).toBeGreaterThan(500)
  expect(refused).toBeGreaterThan(500)
})

test('every delta of the property tests passes by hand', () => {
  fc.assert(
    fc.property(saidOfOneTrace, (all) =>
      all.every(({ delta }) => isPlainDelta(JSON.parse(JSON.stringify(delta)))),
    ),
    { numRuns: 500 },
  )
})

test('what is no object does not pass, nor a delta with a key that is unknown', () => {
  for (const value of [null, undefined, 1, 'x', [], {}]) expect(isPlainDelta(value)).toBe(false)
  const delta = { t: '019ac678-d900-7000-8000-000000000001', n: [0, 0] }
  expect(isPlainDelta(delta)).toBe(true)
  expect(
    isPlainDelta(JSON.parse('{"t":"019ac678-d900-7000-8000-000000000001","n":[0,0],"__proto__":{}}')),
  ).toBe(false)
  expect(isPlainDelta({ ...delta, constructor: 1 })).toBe(false)
})
