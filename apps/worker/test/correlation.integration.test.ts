import { CORRELATION_TTL_S, correlationKey, newTraceId } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Correlated, Correlation } from '../src/correlation.ts'

let redis: Redis

beforeAll(async () => {
  redis = new Redis(await redisForFile())
})
afterAll(() => redis.disconnect())

const executionIds = Array.from({ length: 1_201 }, (_, i) => `exec-${i} é`)
const keys = executionIds.map((id) => correlationKey(id, 'stepwell'))
/** A trace for each execution, begun at this time. */
const tracesOf = (startedAtMs: number): Correlated => ({
  executionIds,
  traceIds: executionIds.map(() => newTraceId(startedAtMs)),
})

test('the newest start owns the key, in whatever order; what somebody else put there stays, and the others are set', async () => {
  const correlation = new Correlation(redis, 'stepwell', 'hour')
  const nowMs = Date.now()
  const [older, newer] = [tracesOf(nowMs - 5_000), tracesOf(nowMs)]
  const foreign = keys[700] as string
  await redis.sadd(foreign, 'theirs')
  const both: Correlated = {
    executionIds: [...executionIds, ...executionIds],
    traceIds: [...newer.traceIds, ...older.traceIds],
  }
  for (const [set, owner] of [
    [older, older],
    [both, newer],
    [newer, newer],
    [older, newer],
  ] as const) {
    await correlation.set(set)
    const owners = owner.traceIds.map((id, i) => (keys[i] === foreign ? null : id))
    expect(await redis.mget(keys)).toEqual(owners)
  }
  expect(await redis.smembers(foreign)).toEqual(['theirs'])
  const lives = await Promise.all(keys.filter((key) => key !== foreign).map((key) => redis.ttl(key)))
  expect(Math.min(...lives)).toBeGreaterThan(CORRELATION_TTL_S - 60)
  expect(Math.max(...lives)).toBeLessThanOrEqual(CORRELATION_TTL_S)
})

test('kept while open only, a key goes with its trace; one that another trace owns stays', async () => {
  const correlation = new Correlation(redis, 'stepwell', 'open')
  await redis.flushdb()
  const [first, second] = [newTraceId(Date.now() - 1_000), newTraceId(Date.now())]
  await correlation.set({ executionIds: ['a', 'b'], traceIds: [first, second] })
  await correlation.stored(
    new Map([
      ['a', first],
      ['b', first],
    ]),
  )
  expect(await redis.mget(correlationKey('a', 'stepwell'), correlationKey('b', 'stepwell'))).toEqual([
    null,
    second,
  ])
})
