import { type Delta, newTraceId, openRecords } from '@stepwell/protocol'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DUE, foldFromEntries } from '../src/fold.ts'
import { makeShards, type Shard } from '../src/shard.ts'
import { FrameProducer } from './frame-producer.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
const dueInMs = { soon: 1_000, checkpoint: 10_000 }
let redis: Redis

beforeAll(async () => {
  redis = new Redis(await redisForFile())
})
afterAll(() => redis.disconnect())

const deltas = (count: number, rest: Partial<Delta> = {}): Delta[] =>
  Array.from({ length: count }, () => ({ t: newTraceId(Date.now()), k: 'open', n: [1, 1], ...rest }))

const without = ({ t, ...rest }: Delta): object => rest

test('Redis cuts deltas out of an entry by itself, however many there are', async () => {
  const producer = new FrameProducer(redis)
  const all = deltas(2_500, { s: [[1, 'née 😀 "},{\\', 0, 1]] })
  const id = await producer.send(...all)
  const field = `${producer.id}:1`
  const dues = all.map((_, i) => [DUE.now, DUE.soon, DUE.checkpoint, DUE.isNotFolded][i % 4]).join('')
  const before = Date.now()
  expect(
    await foldFromEntries(redis, shard, [{ id, producer: producer.id, field, dues }], new Map(), dueInMs),
  ).toEqual([])
  const after = Date.now()
  const sets = new Set(await redis.smembers(shard.keys.openBy(producer.id)))
  const lateness = { [DUE.now]: 0, [DUE.soon]: 1_000, [DUE.checkpoint]: 10_000 } as Record<string, number>
  for (const [i, delta] of all.entries()) {
    const records = openRecords((await redis.get(shard.keys.open(delta.t))) ?? '')
    const score = await redis.zscore(shard.keys.due, delta.t)
    expect(sets.has(delta.t)).toBe(dues[i] !== DUE.isNotFolded)
    if (dues[i] === DUE.isNotFolded) expect([records, score]).toEqual([[], null])
    else {
      expect(records.map((record) => [record.field, JSON.parse(record.text)])).toEqual([
        [field, without(delta)],
      ])
      const foldedMs = Number(score) - (lateness[dues[i] as string] as number)
      expect(foldedMs).toBeGreaterThanOrEqual(before - 1)
      expect(foldedMs).toBeLessThanOrEqual(after + 1)
    }
  }
})

test('what is not there any more, and what somebody else keeps, is told', async () => {
  const producer = new FrameProducer(redis)
  const all = deltas(3)
  const ids = [await producer.send(...all), await producer.send(...deltas(2))] as [string, string]
  await redis.xdel(shard.keys.events, ids[1])
  await redis.rpush(shard.keys.open((all[1] as Delta).t), 'mine')
  const entries = ids.map((id, i) => ({
    id,
    producer: producer.id,
    field: `${producer.id}:${i + 1}`,
    dues: 'sss',
  }))
  const refused = await foldFromEntries(redis, shard, entries, new Map(), dueInMs)
  expect(refused).toEqual([
    { entry: entries[0], place: 1 },
    { entry: entries[1], place: undefined },
  ])
  expect(await redis.lrange(shard.keys.open((all[1] as Delta).t), 0, -1)).toEqual(['mine'])
  for (const delta of [all[0], all[2]] as Delta[])
    expect(openRecords((await redis.get(shard.keys.open(delta.t))) ?? '')).toHaveLength(1)
})
