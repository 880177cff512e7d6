import fc from 'fast-check'
import { expect, test } from 'vitest'
import { metadataBits, metadataMask } from './metadata-bits.ts'
import type { Json } from './trace.ts'

/** Whether metadata with these bits may contain what has this mask. */
const mayContain = (metadata: Json, wanted: Json): boolean => {
  const mask = BigInt(metadataMask(JSON.stringify(wanted)) ?? 0)
  return ((metadataBits(JSON.stringify(metadata), 1) as bigint) & mask) === mask
}

/** A part of it, as `@>` takes it: some keys of objects, some elements of lists, in any order. */
const partOf = (value: Json, take: () => boolean): Json => {
  if (Array.isArray(value))
    return value
      .filter(take)
      .map((item) => partOf(item, take))
      .reverse()
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(take)
      .map(([key, item]) => [key, partOf(item, take)])
      .reverse(),
  )
}

test('what metadata contains has no bit that it has not', () => {
  const values = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>
  const metadata = fc.dictionary(fc.string({ unit: 'grapheme' }), values, { maxKeys: 8 })
  fc.assert(
    fc.property(metadata, fc.infiniteStream(fc.boolean()), (one, booleans) => {
      const take = (): boolean => booleans.next().value
      expect(mayContain(one as Json, partOf(one as Json, take))).toBe(true)
    }),
    { numRuns: 500 },
  )
})

test('values, kinds of values and the keys that lead to them are told apart', () => {
  const metadata = { env: 'prod', n: 1, git: { branch: 'main', tags: ['a', 'b'] }, quote: '"\\', yes: true }
  for (const wanted of [
    { env: 'prod' },
    { n: 1, yes: true },
    { git: { tags: ['b'] } },
    { quote: '"\\' },
    { git: {} },
    {},
  ])
    expect(mayContain(metadata, wanted), JSON.stringify(wanted)).toBe(true)
  for (const wanted of [
    { env: 'dev' },
    { env: 'prod ' },
    { n: '1' },
    { n: 2 },
    { yes: 'true' },
    { branch: 'main' },
    { git: { env: 'prod' } },
    { quote: '"' },
    { git: null },
  ])
    expect(mayContain(metadata, wanted), JSON.stringify(wanted)).toBe(false)
})

test('of five keys one in a hundred others is taken for one of them, at most', () => {
  let taken = 0
  for (let i = 0; i < 10_000; i++)
    if (
      mayContain(
        { service: `s-${i}`, env: 'prod', region: 'eu', version: `1.${i}.0`, user: `u-${i % 77}` },
        { user: `v-${i}` },
      )
    )
      taken += 1
  expect(taken).toBeGreaterThan(0)
  expect(taken).toBeLessThan(100)
})

test('both zeros are one, as in Postgres', () => {
  const bits = metadataBits('{"a":-0,"b":[-0]}', 1)
  expect(bits).toBe(metadataBits('{"a":0,"b":[0]}', 1))
  expect(metadataBits('{"a":-0.5}', 1)).not.toBe(metadataBits('{"a":0.5}', 1))
})

test('nothing has no bits, and asks for none', () => {
  expect(metadataBits('{}', 1)).toBe(1n << 56n)
  for (const nothing of ['{}', '{"a":{}}', '{"a":[]}', '{"a":[{}]}'])
    expect(metadataMask(nothing)).toBeUndefined()
})

test('the version stands above; one that does not fit leaves no bits', () => {
  const ofFirst = metadataBits('{"a":1}', 1) as bigint
  expect(metadataBits('{"a":1}', 127)).toBe(ofFirst + (126n << 56n))
  expect(metadataBits('{"a":1}', 128)).toBeNull()
  for (let i = 0; i < 1_000; i++) expect(BigInt(metadataMask(`{"a":${i}}`) as string) >> 56n).toBe(0n)
})

test('what is stored stays what it is', () => {
  expect(metadataMask('{"env":"dev"}')).toMatchInlineSnapshot(`"9007199254773856"`)
  expect(metadataMask('{"git":{"branch":"main"},"n":1.5}')).toMatchInlineSnapshot(`"9025375560605700"`)
})
