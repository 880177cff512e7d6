import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  boundText,
  canonicalJson,
  cleanJson,
  cleanText,
  encodeObject,
  hasSuspiciousEscape,
  METADATA_MAX_LENGTH,
  TRUNCATED_KEY,
} from './plain-json.ts'
import type { Json } from './trace.ts'

const encoded = (value: unknown, maxLength?: number): Record<string, Json> =>
  JSON.parse(encodeObject(value, maxLength))

/** Whether Postgres takes it: no NUL and no lone surrogate, in texts and in keys. */
const isStorable = (value: unknown): boolean =>
  typeof value === 'string'
    ? value.isWellFormed() && !value.includes('\0')
    : typeof value !== 'object' || value === null || Object.entries(value).flat().every(isStorable)

const throwing = (): never => {
  throw new Error('no')
}

// Texts with the characters that hurt: NUL, halves of pairs, quotes.
const nasty = fc.string({
  unit: fc.constantFrom('a', '\0', '\ud800', '\udfff', '😀', '"', '\\', '\n', '\u2028', '\\u0000'),
})

const anything = fc.anything({
  key: fc.oneof(nasty, fc.constantFrom('__proto__', 'constructor', '0')),
  values: [
    nasty,
    fc.double(),
    fc.bigInt(),
    fc.boolean(),
    fc.constantFrom<unknown>(undefined, null, Symbol('s\0\ud800'), throwing, new Date(Number.NaN), /\0/),
  ],
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withNullPrototype: true,
  withObjectString: true,
  withSparseArray: true,
  withTypedArray: true,
})

// Made anew for each run, apart from the others: fast-check itself could not look at these.
const hostile: ((inner: unknown) => unknown)[] = [
  (inner) => ({
    inner,
    get x() {
      return throwing()
    },
  }),
  (inner) => ({ inner, toJSON: throwing }),
  (inner) => ({ toJSON: () => inner }),
  () => ({
    get toJSON() {
      return throwing()
    },
  }),
  () => new Proxy({}, { ownKeys: throwing, has: throwing, get: throwing, getPrototypeOf: throwing }),
  () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    return proxy
  },
  (inner) => Object.assign(new Error('no\0'), { name: inner, cause: inner }),
  () => Object.assign(new Error(), { message: Object.create(null) }),
  (inner) => {
    const circle: unknown[] = [inner]
    circle.push(circle)
    return circle
  },
  (inner) => inner,
]

describe('metadata of any kind', () => {
  const limit = fc.constantFrom(64, 200, METADATA_MAX_LENGTH)

  test('becomes JSON that Postgres can hold, within its limit, and never throws', () => {
    fc.assert(
      fc.property(anything, fc.nat(hostile.length - 1), limit, (inner, index, maxLength) => {
        const text = encodeObject(hostile[index]?.({ a: inner, b: hostile[index]?.(inner) }), maxLength)
        expect(text.length).toBeLessThanOrEqual(maxLength)
        const object = JSON.parse(text)
        expect(Object.getPrototypeOf(object)).toBe(Object.prototype)
        expect(isStorable(object)).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })

  test('passes unchanged where it is plain JSON', () => {
    const key = fc.oneof(fc.constant('__proto__'), fc.string({ unit: 'binary' }).filter(isStorable))
    const { object } = fc.letrec<{ value: Json; object: { [key: string]: Json } }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, 0, 1.5, -1e300),
        fc.string({ unit: 'binary' }).filter(isStorable),
        fc.array(tie('value'), { maxLength: 4 }),
        tie('object'),
      ),
      object: fc
        .array(fc.tuple(key, tie('value')), { maxLength: 4 })
        .map((entries) => Object.fromEntries(entries)),
    }))
    fc.assert(
      fc.property(object, (value) => {
        expect(encodeObject(value)).toBe(JSON.stringify(value))
      }),
    )
  })

  test('has the nearest form that JSON can hold', () => {
    class Point {
      x = 1
      toJSON(): unknown {
        return { at: new Date(0) }
      }
    }
    expect(
      encoded({
        big: 12n,
        nan: Number.NaN,
        infinite: -Infinity,
        symbol: Symbol('s'),
        call: () => 1,
        date: new Date(0),
        invalid: new Date(Number.NaN),
        map: new Map<unknown, unknown>([
          ['a', 1],
          [2, new Set([3])],
        ]),
        error: new TypeError('no'),
        bytes: Buffer.from('abc'),
        point: new Point(),
        pattern: /a/g,
        list: [undefined, () => 1, 5n],
        absent: undefined,
        nothing: null,
        text: 'a\0b\ud800c',
        'k\0': 1,
      }),
    ).toEqual({
      big: '12',
      nan: 'NaN',
      infinite: '-Infinity',
      symbol: 'Symbol(s)',
      call: '[function]',
      date: '1970-01-01T00:00:00.000Z',
      invalid: 'Invalid Date',
      map: { a: 1, 2: [3] },
      error: { name: 'TypeError', message: 'no' },
      bytes: '[3 bytes]',
      point: { at: '1970-01-01T00:00:00.000Z' },
      pattern: '/a/g',
      list: [null, '[function]', '5'],
      nothing: null,
      text: 'a\uFFFDb\uFFFDc',
      'k\uFFFD': 1,
    })
  })

  test('a part that cannot be read costs that part alone', () => {
    const value = {
      before: 1,
      get bad() {
        return throwing()
      },
      worse: { toJSON: throwing },
      after: 2,
    }
    expect(encoded(value)).toEqual({ before: 1, bad: '[unreadable]', worse: '[unreadable]', after: 2 })
  })

  test('circles end, and what is merely there twice stays twice', () => {
    const shared = { a: 1 }
    const circle: Record<string, unknown> = { shared, again: shared }
    circle.self = { circle }
    expect(encoded(circle)).toEqual({ shared: { a: 1 }, again: { a: 1 }, self: { circle: '[circular]' } })
  })

  test('deep nesting is cut', () => {
    let deep: unknown = 'bottom'
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(encodeObject({ deep })).toContain('[too deep]')
  })

  test('a key `__proto__` stays a key', () => {
    const value = JSON.parse('{"__proto__":{"polluted":1}}')
    expect(encodeObject(value)).toBe('{"__proto__":{"polluted":1}}')
    expect(encodeObject(value, 80)).toBe('{"__proto__":{"polluted":1}}')
    expect(canonicalJson(value)).toBe('{"__proto__":{"polluted":1}}')
    expect(JSON.stringify(cleanJson(value))).toBe('{"__proto__":{"polluted":1}}')
  })

  test('what is no object becomes one', () => {
    expect([undefined, null, 'a', [1], 5n].map((value) => encodeObject(value))).toEqual([
      '{}',
      '{}',
      '{"value":"a"}',
      '{"value":[1]}',
      '{"value":"5"}',
    ])
  })

  test('properties that do not fit are left out, and the rest says how long the whole was', () => {
    const value = { a: 1, huge: 'x'.repeat(METADATA_MAX_LENGTH), b: 2 }
    expect(encoded(value)).toEqual({ a: 1, b: 2, [TRUNCATED_KEY]: JSON.stringify(value).length })
  })

  test('objects that lead to each other in many ways cost bounded work', () => {
    // 2 to the power of 31 ways through 31 objects.
    let shared: unknown = {}
    for (let i = 0; i < 30; i++) shared = { left: shared, right: shared }
    const people = Array.from({ length: 30 }, (_, id) => ({ id, friends: [] as unknown[] }))
    for (const person of people) person.friends.push(...people)
    const before = process.cpuUsage()
    expect(encoded({ id: 7, shared, name: 'x' })).toMatchObject({ id: 7, name: 'x' })
    expect(encoded({ id: 7, people, name: 'x' })).toMatchObject({ id: 7, name: 'x' })
    expect(encoded({ id: 7, sparse: new Array(4_294_967_295), name: 'x' })).toMatchObject({
      id: 7,
      name: 'x',
    })
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(2_000)
  })
})

describe('texts', () => {
  test('cleaned ones are well formed and have no NUL; good ones stay as they are', () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(isStorable(cleanText(text))).toBe(true)
        expect(cleanText(text)).toHaveLength(text.length)
        if (isStorable(text)) expect(cleanText(text)).toBe(text)
      }),
    )
  })

  test('bounded ones fit, and end in … if they were cut', () => {
    fc.assert(
      fc.property(nasty, fc.integer({ min: 1, max: 12 }), (text, maxLength) => {
        const bounded = boundText(text, maxLength)
        expect(bounded.length).toBeLessThanOrEqual(maxLength)
        expect(isStorable(bounded)).toBe(true)
        if (text.length <= maxLength) expect(bounded).toBe(cleanText(text))
        else expect(bounded.endsWith('…')).toBe(true)
      }),
    )
    expect(boundText('ab😀cd', 4)).toBe('ab…')
  })
})

test('equal values have equal canonical text, whatever the order of their keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (drawn) => {
      const value = JSON.parse(JSON.stringify(drawn)) as Json
      const reversed = (v: Json): Json =>
        Array.isArray(v)
          ? v.map(reversed)
          : typeof v === 'object' && v !== null
            ? Object.fromEntries(
                Object.entries(v)
                  .reverse()
                  .map(([key, item]) => [key, reversed(item)]),
              )
            : v
      expect(canonicalJson(reversed(value))).toBe(canonicalJson(value))
      expect(JSON.parse(canonicalJson(value))).toEqual(value)
    }),
  )
  expect(canonicalJson({ b: [1, { d: 1, c: 2 }], a: null })).toBe('{"a":null,"b":[1,{"c":2,"d":1}]}')
})

test('text that Postgres refuses is suspected wherever it is', () => {
  for (const text of ['\0', '\ud800', '\udc00', 'a\udbffb']) {
    expect(hasSuspiciousEscape(JSON.stringify({ [text]: 1 }))).toBe(true)
    expect(hasSuspiciousEscape(JSON.stringify([[text]]))).toBe(true)
  }
  expect(hasSuspiciousEscape('["\\u000a"]')).toBe(false)
})

test('texts that are longer than a text can be, alone or together, are left out', () => {
  expect(encoded({ a: 1, long: '\u0001'.repeat(100_000_000) })).toMatchObject({ a: 1 })
  const long = '\u0001'.repeat(1_000_000)
  const many = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`key-${i}`, long]))
  expect(encoded({ a: 1, ...many })).toEqual({ a: 1, [TRUNCATED_KEY]: METADATA_MAX_LENGTH + 1 })
})
