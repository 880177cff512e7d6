import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Delta } from './delta.ts'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { encodeFrame, frameFields } from './frame.ts'
import { LATEST_START_AHEAD_MS } from './ids.ts'
import { decodeFrame, startOf } from './schema.ts'

const NOW = Date.UTC(2026, 5, 1)
const OURS = '019ac678-d900-7000-8000-000000000001'
const FOREIGN = '0fee1bad-0000-4000-8000-00000000cafe'
const counters = { emitted: 4, acked: 2, dropped: { full: 1 } }

const encode = (values: unknown, compression: 'none' | 'zstd' = 'none'): string[] =>
  encodeFrame(
    {
      producer: 'q8ZC2mYx0aLw',
      number: 7,
      deltaCount: Array.isArray(values) ? values.length : 0,
      counters,
      deltas: JSON.stringify(values),
    },
    compression,
  )

/** The entry with one field set to another value, or taken away. */
function replaceField(flat: readonly string[], name: string, value: string | undefined): string[] {
  const fields = frameFields(flat)
  if (value === undefined) fields.delete(name)
  else fields.set(name, value)
  return [...fields].flat()
}

const reasonOf = (flat: readonly string[]): string | undefined => {
  const decoded = decodeFrame(flat, NOW)
  return decoded.ok ? undefined : decoded.reason
}

/** Why a delta is refused; undefined if it is not. */
function refusal(delta: unknown): string | undefined {
  const decoded = decodeFrame(encode([delta]), NOW)
  if (!decoded.ok) throw new Error(decoded.reason)
  expect(decoded.deltas.length + decoded.refused.length).toBe(1)
  return decoded.refused[0]?.reason
}

describe('a frame', () => {
  test('comes back as it was sent, packed or not', () => {
    fc.assert(
      fc.property(saidOfOneTrace, fc.constantFrom('none' as const, 'zstd' as const), (said, compression) => {
        const sent = JSON.parse(JSON.stringify(said.map(({ delta }) => delta))) as Delta[]
        const decoded = decodeFrame(encode(sent, compression), NOW)
        expect(decoded).toMatchObject({ ok: true, refused: [] })
        if (!decoded.ok) return
        expect(decoded.deltas).toEqual(sent)
        expect(decoded.frame).toEqual({
          producer: 'q8ZC2mYx0aLw',
          number: 7,
          deltaCount: sent.length,
          counters,
        })
      }),
      { numRuns: 300 },
    )
  })

  test('without deltas is a beat', () => {
    expect(decodeFrame(encode([]), NOW)).toMatchObject({ ok: true, deltas: [], refused: [] })
  })

  test('of another version, producer, number or form is refused with the field that is wrong', () => {
    const good = encode([])
    expect(reasonOf(good)).toBeUndefined()
    expect(reasonOf([])).toMatch(/^v: /)
    expect(reasonOf(replaceField(good, 'v', '2'))).toMatch(/^v: unknown frame version/)
    expect(reasonOf(replaceField(good, 'p', undefined))).toMatch(/^p: /)
    for (const p of ['', 'a b', 'a:b', 'a.b', 'x'.repeat(33), 'é']) {
      expect(reasonOf(replaceField(good, 'p', p))).toBe('p: not a producer id')
    }
    for (const n of ['', '-1', '1.5', '1e3', '9'.repeat(16), ' 1', 'NaN']) {
      expect(reasonOf(replaceField(good, 'n', n))).toBe('n: not a whole number')
    }
    expect(reasonOf(replaceField(good, 'c', '1'))).toBe('deltas (d): 0 where c says 1')
    expect(reasonOf(replaceField(good, 'd', undefined))).toMatch(/^d: /)
    expect(reasonOf(replaceField(good, 'd', '{}'))).toBe('deltas (d): not an array')
    expect(reasonOf(replaceField(good, 'd', '[{'))).toMatch(/^deltas \(d\): /)
    expect(reasonOf(replaceField(good, 'z', 'lz4'))).toBe("deltas (d): unknown packing 'lz4'")
    expect(reasonOf(replaceField(good, 'z', 'zstd'))).toMatch(/^deltas \(d\): /)
  })

  test('that unpacks to too much is refused', () => {
    const bomb = encode([{ t: ' '.repeat(5_000_000) }], 'zstd')
    expect(bomb.join('').length).toBeLessThan(10_000)
    expect(reasonOf(bomb)).toMatch(/^deltas \(d\): more than/)
    expect(reasonOf(encode([{ t: ' '.repeat(5_000_000) }]))).toMatch(/^deltas \(d\): more than/)
  })

  test('that is all brackets or all deltas costs bounded time and memory', () => {
    const before = process.memoryUsage.rss()
    const cpuBefore = process.cpuUsage()
    const head = `{"t":"${OURS}","b":1,"k":"a","n":[0,0]`
    const deep = (length: number): string => '['.repeat(length / 2) + ']'.repeat(length / 2)
    const list = (item: string, length: number): string =>
      `[${Array(Math.floor(length / (item.length + 1)))
        .fill(item)
        .join(',')}]`
    const hostile: [string, number, RegExp][] = [
      [list('{}', 4e6), 4_097, /^c: 4097 deltas: a frame has at most 4096/],
      [list('{}', 4e6), 1, /^deltas \(d\): 1333333 where c says 1/],
      [list('{}', 4_096 * 3), 4_096, /^t: /],
      [`[${head},"s":${list('[]', 4e6)}}]`, 1, /^s.0: /],
      [`[${head},"m":${deep(4e6)}}]`, 1, /^m: /],
    ]
    for (const [text, c, reason] of hostile) {
      const flat = encodeFrame({ producer: 'a', number: 1, deltaCount: c, counters, deltas: text }, 'zstd')
      expect(flat.join('').length).toBeLessThan(3_000)
      const decoded = decodeFrame(flat, NOW)
      expect(decoded.ok ? decoded.refused[0]?.reason : decoded.reason).toMatch(reason)
    }
    const { user, system } = process.cpuUsage(cpuBefore)
    expect((user + system) / 1_000).toBeLessThan(10_000)
    expect(process.memoryUsage.rss() - before).toBeLessThan(512 << 20)
  })

  test('is not lost for its counters, which are zero where they cannot be read', () => {
    const long = JSON.stringify({ emitted: 1, acked: 1, dropped: { ['x'.repeat(1_024)]: 1 } })
    const none = [undefined, '', '{', 'null', '{"emitted":-1}', '{"emitted":1,"acked":1,"dropped":[]}', long]
    for (const k of none) {
      const decoded = decodeFrame(replaceField(encode([]), 'k', k), NOW)
      expect(decoded).toMatchObject({ ok: true, frame: { counters: { emitted: 0, acked: 0, dropped: {} } } })
    }
  })
})

describe('a delta', () => {
  const good = { t: OURS, b: 1, k: 'build', n: [0, 0] }

  test('that is bad is refused alone', () => {
    const decoded = decodeFrame(encode([good, { t: 'x' }, null, good]), NOW)
    expect(decoded).toMatchObject({
      ok: true,
      deltas: [good, good],
      refused: [{ value: { t: 'x' }, reason: 't: not a UUID in lower case' }, { value: null }],
    })
  })

  test('is refused with the place that is wrong', () => {
    expect(refusal(good)).toBeUndefined()
    const bad: [string, object][] = [
      ['t', { t: OURS.toUpperCase() }],
      ['b', { b: 2 }],
      ['k', { k: '' }],
      ['k', { k: 'x'.repeat(256) }],
      ['x', { x: '' }],
      ['x', { x: 7 }],
      ['m', { m: [] }],
      ['m', { m: null }],
      ['r', { r: 1.5 }],
      ['u.0', { u: ['x', null, null] }],
      ['l', { l: -1 }],
      ['n', { n: undefined }],
      ['n.1', { n: [1, -1] }],
      ['n.0', { n: [1e9 + 1, 0] }],
      ['e.0', { e: ['x', 1, 1] }],
      ['e.2', { e: ['s', 1, -1] }],
      ['e.1', { e: ['s', 1e14, 1] }],
      ['e.3', { e: ['f', 1, 1, 'x'.repeat(16_385)] }],
      ['s', { s: {} }],
      ['s.0.0', { s: [[0, 'a']] }],
      ['s.0.0', { s: [['1', 'a']] }],
      ['s.0.0', { s: [['a.b', 'a']] }],
      ['s.0', { s: [[1]] }],
      ['s.0.1', { s: [[1, 'x'.repeat(256)]] }],
      ['s.0.3', { s: [[1, 'a', 0, -1]] }],
      ['s.0.4', { s: [[1, 'a', 0, 1, 3]] }],
      ['s.0.7', { s: [[1, 'a', 0, 1, 0, null, null, 'x']] }],
      ['s.0.8', { s: [[1, 'a', 0, 1, 0, null, null, null, -1]] }],
      ['s.0', { s: [[1, 'a', 0, 1, 0, null, null, null, 0, 'more']] }],
    ]
    for (const [place, change] of bad)
      expect(refusal({ ...good, ...change })).toMatch(new RegExp(`^${place}: `))
    expect(refusal({ t: OURS, b: 1, n: [0, 0] })).toContain('needs the skill')
  })

  test('may say more than we know: unknown keys are left out', () => {
    const decoded = decodeFrame(encode([{ ...good, future: 1 }]), NOW)
    expect(decoded.ok && decoded.deltas).toEqual([good])
  })

  test('starts between 2000 and a day from now', () => {
    const at = (ms: number): string | undefined => refusal({ ...good, t: FOREIGN, at: ms })
    expect(refusal({ ...good, t: FOREIGN })).toMatch(/^at: needed/)
    expect(at(Date.UTC(2000, 0, 1))).toBeUndefined()
    expect(at(Date.UTC(2000, 0, 1) - 1)).toContain('2000-01-01')
    expect(at(NOW + LATEST_START_AHEAD_MS)).toBeUndefined()
    expect(at(NOW + LATEST_START_AHEAD_MS + 1)).toContain('a day from now')
    expect(refusal({ ...good, t: 'ffffffff-ffff-7000-8000-000000000001' })).toContain('a day from now')
  })

  test('of an id that tells its start starts there, whatever else it says', () => {
    expect(startOf({ t: OURS, at: 5, n: [0, 0] })).toBe(Date.UTC(2025, 10, 27, 18))
    expect(startOf({ t: FOREIGN, at: 5.9, n: [0, 0] })).toBe(5)
    expect(startOf({ t: FOREIGN, n: [0, 0] })).toBeUndefined()
  })

  test('with text that Postgres refuses is cleaned, in keys too', () => {
    const decoded = decodeFrame(
      encode([{ ...good, k: 'a\0', m: { 'b\ud800': ['\udc00', '😀'] }, s: [[1, 'c\0']] }]),
      NOW,
    )
    expect(decoded).toMatchObject({
      ok: true,
      deltas: [{ k: 'a\uFFFD', m: { 'b\uFFFD': ['\uFFFD', '😀'] }, s: [[1, 'c\uFFFD']] }],
    })
  })

  test('nested beyond measure is refused, not overflowed on', () => {
    const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`
    const withText = (m: string): string[] =>
      replaceField(encode([good]), 'd', `[{"t":"${OURS}","k":"a","n":[0,0],"m":{"a":${m}}}]`)
    expect(decodeFrame(withText(nested(99)), NOW)).toMatchObject({ ok: true, refused: [] })
    expect(decodeFrame(withText(nested(100_000)), NOW)).toMatchObject({ ok: true, deltas: [] })
    // With text to clean on the way down as well.
    expect(decodeFrame(withText(`["\\u0000",${nested(100_000)}]`), NOW).ok).toBe(false)
  })
})

describe('whatever is in the stream', () => {
  const entry = saidOfOneTrace.map((said) => encode(said.map(({ delta }) => delta)))

  test('random fields never throw', () => {
    const field = fc.oneof(fc.constantFrom('v', 'p', 'n', 'c', 'k', 'z', 'd', '1', '__proto__'), fc.string())
    fc.assert(
      fc.property(fc.array(field), (flat) => {
        expect(decodeFrame(flat, NOW)).toHaveProperty('ok')
      }),
      { numRuns: 1_000 },
    )
  })

  test('damaged entries never throw: each delta is taken or refused with a reason', () => {
    const damage = fc.record({
      field: fc.nat(5),
      at: fc.nat(),
      length: fc.nat(4),
      text: fc.string({ unit: 'binary' }),
    })
    fc.assert(
      fc.property(entry, fc.array(damage, { minLength: 1, maxLength: 3 }), (flat, damages) => {
        const broken = [...flat]
        for (const { field, at, length, text } of damages) {
          const value = broken[field * 2 + 1] as string
          const from = at % (value.length + 1)
          broken[field * 2 + 1] = value.slice(0, from) + text + value.slice(from + length)
        }
        const decoded = decodeFrame(broken, NOW)
        if (!decoded.ok) {
          expect(decoded.reason).not.toBe('')
          return
        }
        expect(decoded.deltas.length + decoded.refused.length).toBe(decoded.frame.deltaCount)
        for (const { reason } of decoded.refused) expect(reason.length).toBeLessThanOrEqual(300)
      }),
      { numRuns: 1_000 },
    )
  })

  test('deltas of any shape never throw', () => {
    const key = fc.constantFrom('t', 'at', 'b', 'k', 'x', 'm', 'r', 'u', 'l', 's', 'n', 'e')
    const shape = fc.dictionary(key, fc.oneof(fc.jsonValue(), fc.constantFrom(OURS, FOREIGN, 1)))
    fc.assert(
      fc.property(fc.array(fc.oneof(shape, fc.jsonValue())), (values) => {
        const decoded = decodeFrame(encode(values), NOW)
        expect(decoded.ok && decoded.deltas.length + decoded.refused.length).toBe(values.length)
      }),
      { numRuns: 1_000 },
    )
  })

  test('packed noise never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, magic) => {
        const text = Buffer.from([...(magic ? [0x28, 0xb5, 0x2f, 0xfd] : []), ...bytes]).toString('base64')
        expect(
          decodeFrame(['v', '1', 'p', 'a', 'n', '1', 'c', '0', 'z', 'zstd', 'd', text], NOW),
        ).toHaveProperty('ok')
      }),
      { numRuns: 1_000 },
    )
  })
})
