import fc from 'fast-check'
import { expect, test } from 'vitest'
import { JsonBytes } from './json-bytes.ts'
import { encodeAndCopy, encodeObject, REDACTED } from './plain-json.ts'
import { writePlainObject } from './plain-object.ts'
import { makeRedactor, type Redactor } from './redact.ts'

/** What is written of it; undefined: nothing. */
function plainObject(
  value: unknown,
  maxLength = 1_000,
  redactor?: Redactor,
): { text: string; isVerbatim: boolean } | undefined {
  const out = new JsonBytes()
  const isVerbatim = writePlainObject(out, value, maxLength, redactor, REDACTED)
  return isVerbatim === undefined ? undefined : { text: out.text(), isVerbatim }
}

const key = fc.oneof(
  fc.constantFrom(
    'a',
    'usage.input_tokens',
    '__proto__',
    '2',
    '10',
    'password',
    'api_key',
    'é',
    'k\0',
    '\ud800',
  ),
  fc.string({ unit: 'binary', maxLength: 4 }),
)
const item: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    undefined,
    true,
    0,
    -0,
    1e21,
    5e-324,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    7n,
  ),
  fc.constantFrom('', 'x', 'postgres://u:p@h/', 'Bearer abcdef123456', 'a\0b', '\udc00', 'y'.repeat(40)),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.double(),
  fc.constantFrom<unknown>({}, [1], new Date(0), new Array(2)),
)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { weight: 4, arbitrary: item },
    { weight: 1, arbitrary: fc.array(tie('value'), { maxLength: 3 }) },
    { weight: 1, arbitrary: fc.dictionary(key, tie('value'), { maxKeys: 3 }) },
  ),
}))

test('what is plain becomes what the long way makes of it, whatever the keys, secrets and limits', () => {
  let [plain, nested] = [0, 0]
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, value), { maxLength: 5 }),
      fc.constantFrom(undefined, makeRedactor(true), makeRedactor({ replace: (text) => `\0${text}` })),
      fc.constantFrom(2, 20, 60, 65_536),
      (entries, redactor, maxLength) => {
        const object = Object.fromEntries(entries)
        // A Map of the same members goes the long way.
        const long = encodeObject(new Map(Object.entries(object)), maxLength, redactor)
        expect(encodeObject(object, maxLength, redactor)).toBe(long)
        expect(encodeAndCopy(object, maxLength, redactor)).toStrictEqual({
          text: long,
          copy: JSON.parse(long),
        })
        if (plainObject(object, maxLength, redactor) === undefined) return
        plain += 1
        nested += Number(Object.values(object).some((one) => typeof one === 'object' && one !== null))
      },
    ),
    { numRuns: 3_000 },
  )
  expect(plain).toBeGreaterThan(500)
  expect(nested).toBeGreaterThan(100)
})

test.each([0, 1, 63, 64, 65, 200])('each letter that JSON escapes is escaped after %i others', (before) => {
  const letters = [...Array.from({ length: 130 }, (_, code) => code), 0x2028, 0xd83d, 0xde00, 0xffff]
  for (const code of letters) {
    for (const end of ['', 'x', '\ude00']) {
      const text = `${'y'.repeat(before)}${String.fromCharCode(code)}${end}`
      const isClean = code !== 0 && text.isWellFormed()
      expect(plainObject({ a: text })?.text).toBe(isClean ? JSON.stringify({ a: text }) : undefined)
    }
  }
})

test('what was said before under the same key is written the same, unless the redactor has learned since', () => {
  const secrets = new Set<string>()
  const learning = makeRedactor({ replace: (text) => (secrets.has(text) ? 'gone' : text) })
  for (const redactor of [undefined, makeRedactor(true), learning]) {
    for (const text of ['blue', 'blue', 'say "blue"', 'say "blue"', 'blue', 'x'.repeat(70), 'x'.repeat(70)])
      expect(plainObject({ color: text, n: 1 }, 1_000, redactor)).toEqual({
        text: JSON.stringify({ color: text, n: 1 }),
        isVerbatim: true,
      })
  }
  plainObject({ color: 'blue' }, 1_000, learning)
  secrets.add('blue')
  expect(plainObject({ color: 'blue' }, 1_000, learning)).toEqual({
    text: '{"color":"gone"}',
    isVerbatim: false,
  })
})

/** So many objects in each other. */
const deep = (levels: number): object => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`)

test('what is not plain, or only looks like an object, goes the long way', () => {
  class Point {
    x = 1
  }
  const throwing = {
    get bad(): number {
      throw new Error('no')
    },
  }
  class List extends Array {}
  const circular: Record<string, unknown> = {}
  circular.list = [circular]
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  for (const value of [
    1,
    'x',
    null,
    [1],
    new Point(),
    new Map(),
    throwing,
    revoked.proxy,
    { toJSON: 1 },
    { a: new Map() },
    { a: [new Date(0)] },
    { a: new List() },
    { a: () => 1 },
    { a: [Number.NaN] },
    deep(9),
    circular,
  ])
    expect(plainObject(value)).toBeUndefined()
  expect(plainObject({ a: 1, b: undefined, c: 'x' })?.text).toBe('{"a":1,"c":"x"}')
  expect(plainObject(Object.create(null))?.text).toBe('{}')
  expect(plainObject(deep(8))?.text).toBe(JSON.stringify(deep(8)))
})

test('the copy is one of its own, and no getter that throws at the second time reaches the caller', () => {
  const given = {
    a: 1,
    b: ['x', { c: [null] }] as unknown[],
    d: Object.assign(Object.create(null), { e: 1 }),
  }
  const { copy } = encodeAndCopy(given, 1_000, undefined)
  given.a = 2
  given.d.e = 2
  ;(given.b[1] as { c: unknown[] }).c[0] = 2
  given.b.push(2)
  expect(copy).toStrictEqual({ a: 1, b: ['x', { c: [null] }], d: { e: 1 } })
  let times = 0
  const moody = {
    get a(): number {
      times += 1
      if (times > 1) throw new Error('no')
      return 1
    },
  }
  expect(encodeAndCopy(moody, 1_000, undefined)).toStrictEqual({ text: '{"a":1}', copy: { a: 1 } })
})

test('what somebody gave all objects is no member of any', () => {
  Object.defineProperty(Object.prototype, 'everywhere', {
    value: 1,
    enumerable: true,
    configurable: true,
    writable: true,
  })
  try {
    expect(encodeObject({ a: 1 })).toBe('{"a":1}')
    expect(plainObject({ a: 1 })).toBeUndefined()
  } finally {
    Reflect.deleteProperty(Object.prototype, 'everywhere')
  }
})
