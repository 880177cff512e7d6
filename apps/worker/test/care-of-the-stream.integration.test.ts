import { GROUP, monthOf, newTraceId, replyFields, traceIdStart } from '@stepwell/protocol'
import { ensurePartitions, openDatabase, TraceWriter } from '@stepwell/storage'
import { waitFor } from '@stepwell/testkit'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { ensureGroup } from '../src/group.ts'
import { OutageGate } from '../src/outage.ts'
import { makeShards, type Shard } from '../src/shard.ts'
import { Store } from '../src/store.ts'
import { sweepLostTraces } from '../src/sweep.ts'
import { LIVE_WINDOW_MS, trim } from '../src/trimmer.ts'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

let bench: Bench
const [shard] = makeShards('stepwell', 1) as [Shard]
const { events } = shard.keys

beforeAll(async () => {
  bench = await makeBench()
})
beforeEach(async () => {
  await bench.redis.flushdb()
  await bench.pool.query('truncate execution_traces')
})
afterAll(() => bench[Symbol.asyncDispose]())

/** The time at which all that is in the stream now lies before the live window. */
const later = (): number => Date.now() + LIVE_WINDOW_MS + 1_000

async function fill(count: number): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) ids.push((await bench.redis.xadd(events, '*', 'n', String(i))) as string)
  return ids
}

const deliver = (count: number) =>
  bench.redis.xreadgroup('GROUP', GROUP, 'someone', 'COUNT', count, 'STREAMS', events, '>')

test('trimming takes what was acked and is out of the live window; never what is unread or pending', async () => {
  await ensureGroup(bench.redis, shard)
  const ids = await fill(1_000)
  expect(await trim(bench.redis, shard, later())).toBe(0)
  await deliver(800)
  expect(await trim(bench.redis, shard, later())).toBe(0)
  await bench.redis.xack(events, GROUP, ...ids.slice(0, 500))
  // Of what was acked nothing that is still in the live window.
  expect(await trim(bench.redis, shard, Date.now())).toBe(0)
  await trim(bench.redis, shard, later())
  const left = ((await bench.redis.xrange(events, '-', '+')) as [string, string[]][]).map(([id]) => id)
  expect(left.length).toBeLessThan(700)
  expect(left.slice(-500)).toEqual(ids.slice(500))
  // The rest is delivered and acked: all of it may go but the last node.
  await deliver(1_000)
  await bench.redis.xack(events, GROUP, ...ids)
  await trim(bench.redis, shard, later())
  expect(await bench.redis.xlen(events)).toBeLessThanOrEqual(100)
  const [group] = (await bench.redis.xinfo('GROUPS', events)) as unknown[][]
  expect(group?.[group.indexOf('lag') + 1]).toBe(0)
})

test('a worker that has nothing to do is there all the same, from the start on', async () => {
  const worker = await bench.startWorker({ staleMs: 300 })
  const idleMs = async (): Promise<number> => {
    const consumers = (await bench.redis.xinfo('CONSUMERS', events, GROUP)) as unknown[]
    expect(consumers).toHaveLength(1)
    return Number(replyFields(consumers[0]).get('idle'))
  }
  let before = await idleMs()
  await waitFor(
    async () => {
      const idle = await idleMs()
      const isSeen = idle < before
      before = idle
      return isSeen
    },
    { what: 'it is seen again' },
  )
  await worker.close()
})

test('an entry that was delivered many times, and left by each, is tried alone and stored', async () => {
  await ensureGroup(bench.redis, shard)
  const producer = new FrameProducer(bench.redis)
  const ids = [await producer.send(wholeDelta('suspect', 1)), await producer.send(wholeDelta('suspect', 1))]
  await deliver(10)
  await bench.redis.call('XCLAIM', events, GROUP, 'someone', '0', ids[0] as string, 'RETRYCOUNT', '9')
  const worker = await bench.startWorker({ staleMs: 300 })
  await bench.drained()
  await worker.close()
  expect(
    await bench.rows("select count(*)::int n from execution_traces where skill_name = 'suspect'"),
  ).toEqual([{ n: 2 }])
})

test('running rows whose open state is gone with Redis are ended, others are left alone', async () => {
  const producer = new FrameProducer(bench.redis)
  const worker = await bench.startWorker({ checkpointMs: 200 })
  const [lost, known] = [newTraceId(Date.now()), newTraceId(Date.now())]
  await producer.send({
    t: lost,
    b: 1,
    k: 'lost',
    s: [
      [1, 'fetch', 0, 70],
      [2, 'think', 80],
    ],
    n: [2, 1],
  })
  await waitFor(
    async () => (await bench.rows("select 1 from execution_traces where skill_name = 'lost'"))[0],
    { what: 'it is stored as running' },
  )
  await worker.close()
  await bench.redis.flushdb()
  await bench.startWorker({ checkpointMs: 200 })
  await producer.send({ t: known, b: 1, k: 'known', n: [0, 0] })
  await waitFor(
    async () => (await bench.rows("select 1 from execution_traces where skill_name = 'known'"))[0],
    { what: 'the other is stored as running' },
  )

  const database = openDatabase(bench.database.url)
  const store = new Store(new TraceWriter(database), new OutageGate(() => {}), new AbortController().signal)
  const options = { silenceMs: 60_000, nowMs: Date.now() + 1, lostAfterMs: 0 }
  expect(await sweepLostTraces(bench.redis, database, store, [shard], options)).toBe(1)
  expect(await sweepLostTraces(bench.redis, database, store, [shard], options)).toBe(0)
  const rows = await bench.rows(
    'select skill_name, status, error_message, total_duration_ms from execution_traces order by skill_name',
  )
  expect(rows).toEqual([
    { skill_name: 'known', status: 'running', error_message: null, total_duration_ms: null },
    {
      skill_name: 'lost',
      status: 'timeout',
      error_message: "No sign of life for 60 s, in step 'think'",
      total_duration_ms: 80,
    },
  ])

  // However many are open and quiet for long: behind them it comes to those that are lost.
  const open = Array.from({ length: 2_500 }, (_, i) => newTraceId(Date.now() - 60_000 + i))
  const gone = newTraceId(Date.now() - 1_000)
  await ensurePartitions(database, [monthOf(Date.now() - 60_000)])
  const running = `insert into execution_traces (trace_id, started_at, skill_name, ingested_at)
    select id, to_timestamp(ms / 1000.0), 'quiet', now() - interval '1 hour' from unnest($1::uuid[], $2::float8[]) as t(id, ms)`
  const ids = [...open, gone]
  await bench.pool.query(running, [ids, ids.map((id) => traceIdStart(id))])
  for (const id of open) await bench.redis.zadd(shard.keys.due, Date.now() + 60_000, id)
  expect(
    await sweepLostTraces(bench.redis, database, store, [shard], { ...options, lostAfterMs: 1_000 }),
  ).toBe(1)
  await database.close()
  expect(
    await bench.rows(
      "select trace_id from execution_traces where skill_name = 'quiet' and status = 'timeout'",
    ),
  ).toEqual([{ trace_id: gone }])
})
