import { type Delta, newTraceId } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Fold, fold } from '../src/fold.ts'
import { lease, settle } from '../src/open-state.ts'
import { makeShards, type Shard } from '../src/shard.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
let redis: Redis

beforeAll(async () => {
  redis = new Redis(await redisForFile())
})
afterAll(() => redis.disconnect())

function foldOf(trace: string, field: string, rest: Partial<Delta> = {}): Fold {
  const delta: Delta = { t: trace, k: 'open', n: [0, 0], ...rest }
  return { trace, producer: field.slice(0, field.indexOf(':')), field, delta, dueInMs: 0 }
}

test('a worker that was overtaken settles what it has read, and nothing that came since', async () => {
  const trace = newTraceId(Date.now())
  // Two workers have read both deltas, for the lease of the first ran out while it wrote.
  await fold(redis, shard, [foldOf(trace, 'a:1', { b: 1 }), foldOf(trace, 'a:2')], new Map())
  expect((await lease(redis, shard, 10, 30_000)).leased).toMatchObject([{ trace }])
  const firstTwo = { trace, fields: ['a:1', 'a:2'], lingerMs: 1_000 }
  await settle(redis, shard, [firstTwo])
  // As many as there were, but others.
  await fold(redis, shard, [foldOf(trace, 'a:3'), foldOf(trace, 'a:4')], new Map())
  await settle(redis, shard, [firstTwo])
  expect((await redis.hkeys(shard.keys.open(trace))).sort()).toEqual(['a:3', 'a:4'])
  expect((await lease(redis, shard, 10, 30_000)).leased).toMatchObject([{ trace }])
  await settle(redis, shard, [{ trace, fields: ['a:3', 'a:4'], lingerMs: 0 }])
  expect(await redis.keys(`${shard.keys.open('')}*`)).toEqual([])
  expect(await redis.exists(shard.keys.due)).toBe(0)
})

test('many traces are settled together, each by what was read of it', async () => {
  const traces = Array.from({ length: 300 }, () => newTraceId(Date.now()))
  const folds = traces.flatMap((trace, i) =>
    Array.from({ length: 1 + (i % 12) }, (_, n) => foldOf(trace, `${'ab'[n % 2]}:${n}`)),
  )
  await fold(redis, shard, folds, new Map())
  const fieldsOf = (trace: string): string[] =>
    folds.filter((item) => item.trace === trace).map((item) => item.field)
  // Of every third one something more comes in between.
  const more = traces.filter((_, i) => i % 3 === 0)
  const read = traces.map((trace) => ({ trace, fields: fieldsOf(trace), lingerMs: 0 }))
  await fold(
    redis,
    shard,
    more.map((trace) => foldOf(trace, 'c:1')),
    new Map(),
  )
  await settle(redis, shard, read)
  expect((await redis.zrange(shard.keys.due, '0', '-1')).sort()).toEqual([...more].sort())
  expect(await redis.keys(`${shard.keys.open('')}*`)).toHaveLength(more.length)
  await settle(
    redis,
    shard,
    more.map((trace) => ({ trace, fields: ['c:1'], lingerMs: 0 })),
  )
  expect(await redis.keys('stepwell:{0}:[do][up]e*')).toEqual([])
})
