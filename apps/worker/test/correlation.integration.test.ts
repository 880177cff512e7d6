import { CORRELATION_TTL_S, correlationKey, newTraceId, PartTable, type RunPart } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Correlation } from '../src/correlation.ts'

let redis: Redis

beforeAll(async () => {
  redis = new Redis(await redisForFile())
})
afterAll(() => redis.disconnect())

const executionIds = Array.from({ length: 1_201 }, (_, i) => `exec-${i} é`)
const keys = executionIds.map((id) => correlationKey(id, 'stepwell'))
/** A trace for each execution, begun at this time. */
const tracesOf = (startedAtMs: number): string[] => executionIds.map(() => newTraceId(startedAtMs))

/** Sets these. */
async function set(correlation: Correlation, pairs: readonly (readonly [string, string])[]): Promise<void> {
  const correlated = correlation.collect()
  for (const [executionId, traceId] of pairs) correlated.add(executionId, traceId)
  await correlation.set(correlated)
}

test('the newest start owns the key, in whatever order; what somebody else put there stays, and the others are set', async () => {
  const correlation = new Correlation(redis, 'stepwell', 'hour')
  const nowMs = Date.now()
  const [older, newer] = [tracesOf(nowMs - 5_000), tracesOf(nowMs)]
  const foreign = keys[700] as string
  await redis.sadd(foreign, 'theirs')
  // Whatever knew the script, it comes again.
  await redis.script('FLUSH')
  for (const [traces, owners] of [
    [[older], older],
    [[newer, older], newer],
    [[newer], newer],
    [[older], newer],
  ] as const) {
    await set(
      correlation,
      traces.flatMap((ids) => executionIds.map((executionId, i) => [executionId, ids[i] as string] as const)),
    )
    expect(await redis.mget(keys)).toEqual(owners.map((id, i) => (keys[i] === foreign ? null : id)))
  }
  expect(await redis.smembers(foreign)).toEqual(['theirs'])
  const lives = await Promise.all(keys.filter((key) => key !== foreign).map((key) => redis.ttl(key)))
  expect(Math.min(...lives)).toBeGreaterThan(CORRELATION_TTL_S - 60)
  expect(Math.max(...lives)).toBeLessThanOrEqual(CORRELATION_TTL_S)
})

test('what is collected meanwhile is set too, behind the prefix of the connection', async () => {
  const prefixed = redis.duplicate({ keyPrefix: 'tëam:' })
  try {
    const correlation = new Correlation(prefixed, 'other', 'hour')
    const [first, second] = [newTraceId(Date.now()), newTraceId(Date.now())]
    const [one, other] = [correlation.collect(), correlation.collect()]
    one.add('a', first)
    other.add('b', second)
    await Promise.all([correlation.set(one), correlation.set(other)])
    const names = ['a', 'b', 'c'].map((id) => correlationKey(id, 'other'))
    await set(correlation, [['c', second]])
    expect(await redis.mget(names.map((name) => `tëam:${name}`))).toEqual([first, second, second])
    expect(await prefixed.mget(names)).toEqual([first, second, second])
  } finally {
    prefixed.disconnect()
  }
})

/** A run that came whole, as it stands in a frame. */
function runOf(executionId: string, traceId: string): RunPart {
  const run = { t: traceId, k: 'a', b: 1, x: executionId, s: [[1, 'b', 0, 1]], n: [1, 1], e: ['s', 1, 1] }
  return new PartTable(Buffer.from(JSON.stringify(run))).read(0) as RunPart
}

test('what waits for its connection, or goes once more for want of the script, is what was collected, whatever is collected since', async () => {
  await redis.script('FLUSH')
  const waiting = redis.duplicate({ lazyConnect: true })
  try {
    const correlation = new Correlation(waiting, 'größe', 'hour')
    const ids = ['née', `${'é'.repeat(127)}a`, 'plain', 'last']
    const traces = ids.map((_, i) => newTraceId(Date.now() + i))
    const sets = ids.map((id, i) => {
      const correlated = correlation.collect()
      correlated.addRun(runOf(id, traces[i] as string))
      return correlation.set(correlated)
    })
    await Promise.all(sets)
    expect(await redis.mget(ids.map((id) => correlationKey(id, 'größe')))).toEqual(traces)
  } finally {
    waiting.disconnect()
  }
})

test('kept while open only, a key goes with its trace; one that another trace owns stays', async () => {
  const correlation = new Correlation(redis, 'stepwell', 'open')
  await redis.flushdb()
  const [first, second] = [newTraceId(Date.now() - 1_000), newTraceId(Date.now())]
  await set(correlation, [
    ['a', first],
    ['b', second],
  ])
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
