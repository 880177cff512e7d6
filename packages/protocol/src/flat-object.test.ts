import fc from 'fast-check'
import { expect, test } from 'vitest'
import { flatObject } from './flat-object.ts'
import { encodeAndCopy, encodeObject, REDACTED } from './plain-json.ts'
import { makeRedactor } from './redact.ts'

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
  fc.constantFrom<unknown>({}, [1], new Date(0)),
)

test('what is flat becomes what the long way makes of it, whatever the keys, secrets and limits', () => {
  let flat = 0
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, item), { maxLength: 5 }),
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
        flat += Number(flatObject(object, maxLength, redactor, REDACTED) !== undefined)
      },
    ),
    { numRuns: 3_000 },
  )
  expect(flat).toBeGreaterThan(500)
})

test.each([0, 1, 63, 64, 65, 200])('each letter that JSON escapes is escaped after %i others', (before) => {
  const letters = [...Array.from({ length: 130 }, (_, code) => code), 0x2028, 0xd83d, 0xde00, 0xffff]
  for (const code of letters) {
    for (const end of ['', 'x', '\ude00']) {
      const text = `${'y'.repeat(before)}${String.fromCharCode(code)}${end}`
      const isClean = code !== 0 && text.isWellFormed()
      expect(flatObject({ a: text }, 1_000, undefined, REDACTED)?.text).toBe(
        isClean ? JSON.stringify({ a: text }) : undefined,
      )
    }
  }
})

test('what was said before under the same key is written the same, unless the redactor has learned since', () => {
  const secrets = new Set<string>()
  const learning = makeRedactor({ replace: (text) => (secrets.has(text) ? 'gone' : text) })
  for (const redactor of [undefined, makeRedactor(true), learning]) {
    for (const text of ['blue', 'blue', 'say "blue"', 'say "blue"', 'blue', 'x'.repeat(70), 'x'.repeat(70)])
      expect(flatObject({ color: text, n: 1 }, 1_000, redactor, REDACTED)).toEqual({
        text: JSON.stringify({ color: text, n: 1 }),
        isVerbatim: true,
      })
  }
  flatObject({ color: 'blue' }, 1_000, learning, REDACTED)
  secrets.add('blue')
  expect(flatObject({ color: 'blue' }, 1_000, learning, REDACTED)).toEqual({
    text: '{"color":"gone"}',
    isVerbatim: false,
  })
})

test('what is not flat, or only looks like an object, goes the long way', () => {
  class Point {
    x = 1
  }
  const throwing = {
    get bad(): number {
      throw new Error('no')
    },
  }
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
    { a: {} },
  ])
    expect(flatObject(value, 1_000, undefined, REDACTED)).toBeUndefined()
  expect(flatObject({ a: 1, b: undefined, c: 'x' }, 1_000, undefined, REDACTED)?.text).toBe('{"a":1,"c":"x"}')
  expect(flatObject(Object.create(null), 1_000, undefined, REDACTED)?.text).toBe('{}')
})

test('the copy is one of its own, and no getter that throws at the second time reaches the caller', () => {
  const given = { a: 1, b: 'x' }
  const { copy } = encodeAndCopy(given, 1_000, undefined)
  given.a = 2
  expect(copy).toStrictEqual({ a: 1, b: 'x' })
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
    expect(flatObject({ a: 1 }, 1_000, undefined, REDACTED)).toBeUndefined()
  } finally {
    Reflect.deleteProperty(Object.prototype, 'everywhere')
  }
})
