import { newTraceId } from '@stepwell/protocol'
import { startRedis, waitFor } from '@stepwell/testkit'
import { createWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

const log = pino({ level: 'silent' })
const opened: Bench[] = []
afterAll(async () => {
  for (const bench of opened) await bench[Symbol.asyncDispose]()
})

async function open(): Promise<Bench> {
  const bench = await makeBench()
  opened.push(bench)
  return bench
}

test('everything-refused: where no row at all goes in, nothing is judged, and all is stored when that is mended', async () => {
  const bench = await open()
  await bench.pool.query('alter table execution_traces add constraint nothing check (false) not valid')
  const worker = await bench.startWorker({ health: { host: '127.0.0.1', port: 0 } })
  const producer = new FrameProducer(bench.redis)
  for (let i = 0; i < 10; i++) await producer.send(wholeDelta('patient', 1), wholeDelta('patient', 1))
  await waitFor(async () => (await fetch(`${worker.healthUrl}/ready`)).status === 503, {
    what: 'the worker is not ready',
  })
  await bench.pool.query('alter table execution_traces drop constraint nothing')
  await bench.drained()
  expect(await bench.rows('select count(*)::int n from execution_traces')).toEqual([{ n: 20 }])
  expect(await bench.rows('select * from execution_dead_letters')).toEqual([])
})

test('redis-restarted-empty: the group is made anew and new traces are stored', {
  timeout: 60_000,
}, async () => {
  await using server = await startRedis()
  const bench = await open()
  await using _worker = await createWorker({
    redis: server.url,
    database: bench.database.url,
    migrate: false,
    log,
  })
  const redis = new Redis(server.url, { maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const producer = new FrameProducer(redis)
  await producer.send(wholeDelta('before', 1))
  const count = async (skill: string): Promise<number> =>
    (await bench.rows('select 1 from execution_traces where skill_name = $1', [skill])).length
  await waitFor(async () => (await count('before')) === 1, { what: 'the first is stored' })
  await server.kill()
  await server.restart()
  const t = newTraceId(Date.now())
  await producer.send(wholeDelta('after', 1), { t, b: 1, k: 'after', n: [0, 0] })
  await producer.send({ t, k: 'after', n: [0, 0], e: ['s', 1, 1] })
  await waitFor(async () => (await count('after')) === 2, {
    what: 'those after the restart are stored',
    timeoutMs: 20_000,
  })
  redis.disconnect()
})

test('redis-full: deltas of open traces go straight to Postgres and are acked', {
  timeout: 60_000,
}, async () => {
  await using server = await startRedis()
  const bench = await open()
  const redis = new Redis(server.url)
  const producer = new FrameProducer(redis)
  const traces = Array.from({ length: 200 }, () => newTraceId(Date.now()))
  await producer.send(...traces.map((t) => ({ t, b: 1, k: 'full', s: [[1, 'a', 0, 1]], n: [1, 1] })))
  await producer.send(...traces.map((t) => ({ t, k: 'full', n: [1, 1], e: ['s', 2, 2] })))
  await using _worker = await createWorker({
    redis: server.url,
    database: bench.database.url,
    migrate: false,
    log,
  })
  // From before its first read on: what it holds already is more than it may.
  await redis.config('SET', 'maxmemory', '1mb')
  await redis.config('SET', 'maxmemory', '1')
  await producer.send().catch(() => {})
  await waitFor(
    async () =>
      (
        await bench.rows<{ n: number }>(
          `select count(*)::int n from execution_traces where status = 'success' and step_count = 1`,
        )
      )[0]?.n === 200,
    { what: 'all are stored' },
  )
  await redis.config('SET', 'maxmemory', '0')
  redis.disconnect()
})
