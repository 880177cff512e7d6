import { newTraceId, type StepTuple } from '@stepwell/protocol'
import { openDatabase, TraceWriter } from '@stepwell/storage'
import { startRedis, waitFor } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { OutageGate } from '../src/outage.ts'
import { makeShards } from '../src/shard.ts'
import { Store } from '../src/store.ts'
import { sweepLostTraces } from '../src/sweep.ts'
import { FrameProducer } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

const SILENCE_MS = 2_000
let bench: Bench

beforeAll(async () => {
  bench = await makeBench()
  await bench.startWorker({ checkpointMs: 500, silenceMs: SILENCE_MS })
})
afterAll(() => bench[Symbol.asyncDispose]())

const rowOf = async (t: string): Promise<Record<string, unknown> | undefined> =>
  (await bench.rows('select * from execution_traces where trace_id = $1', [t]))[0]

const ended = (t: string, status: string) =>
  waitFor(async () => ((await rowOf(t))?.status === status ? rowOf(t) : undefined), {
    what: `${t} is ${status}`,
  })

test('a run whose producer falls silent times out, names the step, and gives way to the end that comes after all', async () => {
  const producer = new FrameProducer(bench.redis)
  const steps: StepTuple[] = [
    [1, 'fetch', 0, 120],
    [2, 'train', 130],
  ]
  const t = newTraceId(Date.now())
  await producer.send({ t, b: 1, k: 'hang', s: steps, n: [2, 1] })
  const row = await ended(t, 'timeout')
  expect(row).toMatchObject({
    error_message: "No sign of life for 2 s, in step 'train'",
    total_duration_ms: 130,
    missing_steps: 0,
  })
  await bench.drained()
  await producer.send({ t, k: 'hang', s: [[2, 'train', 130, 9_000]], n: [2, 2], e: ['s', 9_130, 9_130] })
  expect(await ended(t, 'success')).toMatchObject({ error_message: null, total_duration_ms: 9_130 })
  await bench.drained()
})

test('a producer that beats is alive, however quiet its trace', async () => {
  const producer = new FrameProducer(bench.redis)
  const other = new FrameProducer(bench.redis)
  const t = newTraceId(Date.now())
  const dead = newTraceId(Date.now())
  await producer.send({ t, b: 1, k: 'quiet', s: [[1, 'think', 0]], n: [1, 0] })
  await other.send({ t: dead, b: 1, k: 'dead', n: [0, 0] })
  // The dead one shows that the time has passed.
  await waitFor(
    async () => {
      await producer.send()
      return (await rowOf(dead))?.status === 'timeout'
    },
    { what: 'the silent one times out', intervalMs: 200 },
  )
  expect((await rowOf(dead))?.error_message).toBe('No sign of life for 2 s, before its first step')
  expect((await rowOf(t))?.status).toBe('running')
  await producer.send({ t, k: 'quiet', n: [1, 0], e: ['f', 5, 5] })
  await ended(t, 'failed')
  await bench.drained()
})

test('a helper that lives on does not keep a dead run alive, unless a step of its own is open in it', async () => {
  const owner = new FrameProducer(bench.redis)
  const helper = new FrameProducer(bench.redis)
  const t = newTraceId(Date.now())
  await owner.send({ t, b: 1, k: 'left', s: [[1, 'delegate', 0, 5]], n: [1, 1] })
  await helper.send({ t, s: [[`${helper.id}.1`, 'part', 1, 2]], n: [1, 1] })
  await waitFor(
    async () => {
      await helper.send()
      return (await rowOf(t))?.status === 'timeout'
    },
    { what: 'the run times out', intervalMs: 200 },
  )
})

test('a run past its own limit times out, though its producer is alive', async () => {
  const producer = new FrameProducer(bench.redis)
  const t = newTraceId(Date.now())
  await producer.send({ t, b: 1, k: 'limited', l: 700, s: [[1, 'slow', 10]], n: [1, 0] })
  const row = await waitFor(
    async () => {
      await producer.send()
      return (await rowOf(t))?.status === 'timeout' ? rowOf(t) : undefined
    },
    { what: 'the limit shows' },
  )
  expect(row).toMatchObject({
    error_message: "Timed out after 700 ms, in step 'slow'",
    total_duration_ms: 700,
  })
})

test('a backlog kills nobody: silence counts up to where the stream has been worked off', async () => {
  const producer = new FrameProducer(bench.redis)
  const witness = new FrameProducer(bench.redis)
  const t = newTraceId(Date.now())
  await producer.send({ t, b: 1, k: 'behind', s: [[1, 'wait', 0]], n: [1, 0] })
  await waitFor(async () => (await rowOf(t))?.status === 'running', { what: 'it is stored as running' })
  // Another worker reads a sign of life and does not get to it.
  const slow = bench.redis.duplicate()
  const taking = slow.xreadgroup(
    'GROUP',
    'stepwell',
    'slow',
    'COUNT',
    1,
    'BLOCK',
    20_000,
    'STREAMS',
    'stepwell:{0}:events',
    '>',
  )
  const id = await waitFor(
    async () => {
      await witness.send()
      const [entry] = (await bench.redis.xpending(
        'stepwell:{0}:events',
        'stepwell',
        '-',
        '+',
        1,
        'slow',
      )) as [string][]
      return entry?.[0]
    },
    { what: 'the slow worker has an entry' },
  )
  await taking
  slow.disconnect()
  const takenAtMs = Date.now()
  await waitFor(() => Date.now() - takenAtMs > SILENCE_MS + 2_000, { what: 'the time of silence passes' })
  expect((await rowOf(t))?.status).toBe('running')
  await bench.redis.xack('stepwell:{0}:events', 'stepwell', id)
  await ended(t, 'timeout')
})

test('a run that is held was recorded elsewhere: it stays running, takes no room in Redis, and its end is taken all the same', async () => {
  const producer = new FrameProducer(bench.redis)
  const t = newTraceId(Date.now())
  await producer.send({ t, b: 1, k: 'held', h: 1, s: [[1, 'think', 0]], n: [1, 0] })
  await ended(t, 'running')
  await bench.drained()
  const { database, redis } = bench
  const storage = openDatabase(database.url)
  const store = new Store(new TraceWriter(storage), new OutageGate(() => {}), new AbortController().signal)
  const options = { silenceMs: 1, nowMs: Date.now() + 1_000, lostAfterMs: 0 }
  expect(await sweepLostTraces(redis, storage, store, makeShards('stepwell', 1), options)).toBe(0)
  await storage.close()
  expect((await rowOf(t))?.status).toBe('running')
  await producer.send({ t, k: 'held', s: [[1, 'think', 0, 5]], n: [1, 1], e: ['s', 9, 9] })
  await ended(t, 'success')
})

test('redis-paused for longer than that: what nobody could hear is no silence', async () => {
  await using server = await startRedis()
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  await using _worker = await bench.startWorker({
    redis: server.url,
    checkpointMs: 500,
    silenceMs: SILENCE_MS,
  })
  // When it is looked at next; a lease, while it is looked at, is longer.
  const nextLook = async (): Promise<number | undefined> => {
    const dueMs = Number(await redis.zscore('stepwell:{0}:due', t))
    return dueMs < Date.now() + 10_000 ? dueMs : undefined
  }
  const t = newTraceId(Date.now())
  await new FrameProducer(redis).send({ t, b: 1, k: 'unheard', s: [[1, 'wait', 0]], n: [1, 0] })
  await waitFor(async () => (await rowOf(t))?.status === 'running', { what: 'it is stored as running' })
  const dueMs = await waitFor(nextLook, { what: 'it was looked at' })
  const untilMs = performance.now() + SILENCE_MS + 2_500
  server.pause()
  await waitFor(() => performance.now() > untilMs, { what: 'longer than that' })
  server.resume()
  await waitFor(async () => ![dueMs, undefined].includes(await nextLook()), { what: 'it is looked at again' })
  expect((await rowOf(t))?.status).toBe('running')
  redis.disconnect()
})
