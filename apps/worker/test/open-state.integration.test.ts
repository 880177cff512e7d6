import { type Delta, newTraceId, openRecord, openRecords, recordOfDelta } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DUE, type Fold, fold, foldFromEntries, joining } from '../src/fold.ts'
import { lease, replace, settle } from '../src/open-state.ts'
import { makeShards, type Shard } from '../src/shard.ts'
import { FrameProducer } from './frame-producer.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
let redis: Redis

beforeAll(async () => {
  redis = new Redis(await redisForFile())
})
afterAll(() => redis.disconnect())

function foldOf(trace: string, field: string, rest: Partial<Delta> = {}): Fold {
  const delta: Delta = { t: trace, k: 'open', n: [0, 0], ...rest }
  const producer = field.slice(0, field.indexOf(':'))
  return { trace, producer, texts: [recordOfDelta(delta)], fields: [field], dueInMs: 0 }
}

const textOf = async (trace: string): Promise<string> => (await redis.get(shard.keys.open(trace))) ?? ''
const fieldsOf = async (trace: string): Promise<string[]> =>
  openRecords(await textOf(trace)).map(({ field }) => field)

test('a worker that was overtaken settles what it has read, and nothing that came since', async () => {
  const trace = newTraceId(Date.now())
  // Two workers have read both deltas, for the lease of the first ran out while it wrote.
  await fold(redis, shard, [foldOf(trace, 'a:1', { b: 1 }), foldOf(trace, 'a:2')], new Map())
  const firstTwo = { trace, read: await textOf(trace), fields: ['a:1', 'a:2'], lingerMs: 1_000 }
  expect((await lease(redis, shard, 10, 30_000)).leased).toMatchObject([
    { trace, size: firstTwo.read.length },
  ])
  await settle(redis, shard, [firstTwo])
  // As much as there was, but something else.
  await fold(redis, shard, [foldOf(trace, 'a:3', { b: 1 }), foldOf(trace, 'a:4')], new Map())
  const nextTwo = await textOf(trace)
  expect(nextTwo).toHaveLength(firstTwo.read.length)
  await settle(redis, shard, [firstTwo])
  await replace(redis, shard, { trace, read: firstTwo.read, by: 'x', leaving: ['a'] })
  expect(await textOf(trace)).toBe(nextTwo)
  expect((await lease(redis, shard, 10, 30_000)).leased).toMatchObject([{ trace }])
  await settle(redis, shard, [{ trace, read: nextTwo, fields: ['a:3', 'a:4'], lingerMs: 0 }])
  expect(await redis.keys(`${shard.keys.open('')}*`)).toEqual([])
  expect(await redis.exists(shard.keys.due)).toBe(0)
})

test('many traces are settled together, each by what was read of it', async () => {
  const traces = Array.from({ length: 1_300 }, () => newTraceId(Date.now()))
  const folds = traces.flatMap((trace, i) =>
    Array.from({ length: 1 + (i % 12) }, (_, n) => foldOf(trace, `${'ab'[n % 2]}:${n}`, { k: 'né😀' })),
  )
  await fold(redis, shard, folds, new Map())
  const read = await Promise.all(
    traces.map(async (trace) => ({
      trace,
      read: await textOf(trace),
      fields: await fieldsOf(trace),
      lingerMs: 0,
    })),
  )
  // Of every third one something more comes in between.
  const more = traces.filter((_, i) => i % 3 === 0)
  await fold(
    redis,
    shard,
    more.map((trace) => foldOf(trace, 'c:1')),
    new Map(),
  )
  await settle(redis, shard, read)
  expect((await redis.zrange(shard.keys.due, '0', '-1')).sort()).toEqual([...more].sort())
  expect(await redis.keys(`${shard.keys.open('')}*`)).toHaveLength(more.length)
  for (const trace of more) expect(await fieldsOf(trace)).toEqual(['c:1'])
  expect((await lease(redis, shard, 2_000, 30_000)).leased).toHaveLength(more.length)
  await settle(
    redis,
    shard,
    await Promise.all(
      more.map(async (trace) => ({ trace, read: await textOf(trace), fields: ['c:1'], lingerMs: 0 })),
    ),
  )
  expect(await redis.keys('stepwell:{0}:[do][up]e*')).toEqual([])
})

test('what was read is replaced, what came since stays, also where it is no UTF-8', async () => {
  const trace = newTraceId(Date.now())
  await redis.append(shard.keys.open(trace), Buffer.from([0xff, 0x0a]))
  await fold(redis, shard, [foldOf(trace, 'a:1')], new Map())
  const read = await redis.getBuffer(shard.keys.open(trace))
  await fold(redis, shard, [foldOf(trace, 'b:2')], new Map())
  await replace(redis, shard, {
    trace,
    read: read as Buffer,
    by: openRecord({ field: 'a:1', text: '{}' }),
    leaving: ['a'],
  })
  expect(openRecords(await textOf(trace))).toEqual([
    { field: 'a:1', text: '{}' },
    { field: 'b:2', text: expect.any(String) },
  ])
  expect(await redis.exists(shard.keys.openBy('a'))).toBe(0)
  await settle(redis, shard, [{ trace, read: await textOf(trace), fields: ['a:1', 'b:2'], lingerMs: 0 }])
  expect(await redis.keys('stepwell:{0}:[do][up]e*')).toEqual([])
})

test('a trace is in the index, and in the set of each producer, whatever of it comes first', async () => {
  const { due, openBy } = shard.keys
  const producer = new FrameProducer(redis)
  const t = newTraceId(Date.now())
  const send = async (number: number, dues: string, rest: object): Promise<void> => {
    const id = await producer.send({ t, n: [0, 0], ...rest })
    const entry = { id, producer: producer.id, field: `${producer.id}:${number}`, dues }
    expect(
      await foldFromEntries(redis, shard, [entry], new Map(), { soon: 1_000, checkpoint: 10_000 }),
    ).toEqual([])
  }
  await fold(redis, shard, [{ ...foldOf(t, 'other:1'), dueInMs: 5_000 }], new Map())
  const first = Number(await redis.zscore(due, t))
  // Of the owner something that is not its beginning: that somebody knows the trace is all that was known.
  await send(1, DUE.soon, { k: 'open' })
  expect([Number(await redis.zscore(due, t)), await redis.exists(openBy(producer.id))]).toEqual([first, 0])
  await send(2, joining(DUE.checkpoint), { k: 'open', b: 1 })
  expect([Number(await redis.zscore(due, t)), await redis.smembers(openBy(producer.id))]).toEqual([
    first,
    [t],
  ])
  await send(3, DUE.now, { k: 'open', e: ['s', 1, 1] })
  expect(Number(await redis.zscore(due, t))).toBeLessThan(first)
  expect(await fieldsOf(t)).toEqual(['other:1', ...[1, 2, 3].map((n) => `${producer.id}:${n}`)])
})
