import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Delta } from './delta.ts'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { newTraceId } from './ids.ts'
import { correlationKey, openName, recordOfDelta, saidOfRecord, shardKeys, shardOf } from './keys.ts'
import { startOf } from './schema.ts'

test('the hash is FNV-1a with 32 bits, by its published test vectors', () => {
  const vectors = { '': 0x811c9dc5, a: 0xe40c292c, b: 0xe70c2de5, foobar: 0xbf9cf968 }
  for (const [text, hash] of Object.entries(vectors)) expect(shardOf(text, 2 ** 32)).toBe(hash)
})

test('traces spread evenly, also those of one millisecond', () => {
  const counts = [0, 0, 0, 0, 0, 0, 0]
  for (let i = 0; i < 70_000; i++) {
    const shard = shardOf(newTraceId(1_764_266_400_000), counts.length)
    counts[shard] = (counts[shard] as number) + 1
  }
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(600)
})

test('a shard is one of those there are', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.integer({ min: 1, max: 64 }), (id, shards) => {
      const shard = shardOf(id, shards)
      expect(Number.isInteger(shard) && shard >= 0 && shard < shards).toBe(true)
      expect(shardOf(id, 1)).toBe(0)
    }),
  )
})

test('the keys are those of the protocol, and those of a shard share its hash tag', () => {
  const keys = shardKeys('stepwell', 3)
  expect({ ...keys, open: keys.open('t'), openBy: keys.openBy('p') }).toEqual({
    events: 'stepwell:{3}:events',
    due: 'stepwell:{3}:due',
    told: 'stepwell:{3}:told',
    producers: 'stepwell:{3}:producers',
    counts: 'stepwell:{3}:counts',
    open: 'stepwell:{3}:open:t',
    openBy: 'stepwell:{3}:open-by:p',
  })
  expect(correlationKey('exec-1')).toBe('trace_context:exec-1')
})

test('a delta comes back from the record of its trace, whoever wrote it, in whatever order', () => {
  fc.assert(
    fc.property(saidOfOneTrace, fc.boolean(), (all, isTurned) => {
      for (const { delta } of all) {
        const sent = JSON.parse(JSON.stringify(delta)) as Delta
        const written = isTurned
          ? (Object.fromEntries(Object.entries(sent).reverse()) as unknown as Delta)
          : sent
        const name = openName(sent.t, startOf(sent) as number)
        const text = recordOfDelta(written)
        const said = saidOfRecord(name, { field: 'a:7', text })
        expect(said.delta).toEqual(sent)
        expect(said.producer).toBe(sent.k === undefined ? 'a' : '')
        if (!isTurned) expect(JSON.parse(text)).not.toHaveProperty('t')
      }
    }),
    { numRuns: 300 },
  )
})
