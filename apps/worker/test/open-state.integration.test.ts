import { type Delta, newTraceId } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Fold, fold, lease, settle } from '../src/open-state.ts'
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
  await settle(redis, shard, trace, ['a:1', 'a:2'], 1_000)
  // As many as there were, but others.
  await fold(redis, shard, [foldOf(trace, 'a:3'), foldOf(trace, 'a:4')], new Map())
  expect(await settle(redis, shard, trace, ['a:1', 'a:2'], 1_000)).toBe(false)
  expect((await redis.hkeys(shard.keys.open(trace))).sort()).toEqual(['a:3', 'a:4'])
  expect((await lease(redis, shard, 10, 30_000)).leased).toMatchObject([{ trace }])
  expect(await settle(redis, shard, trace, ['a:3', 'a:4'])).toBe(true)
  expect(await redis.keys(`${shard.keys.open('')}*`)).toEqual([])
})
