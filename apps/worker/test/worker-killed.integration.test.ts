import { newTraceId, type StepTuple } from '@stepwell/protocol'
import { faultProxy, spawnProcess, waitFor } from '@stepwell/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

const TRACES = 50_000
const PER_FRAME = 50

let bench: Bench

beforeAll(async () => {
  bench = await makeBench()
})
afterAll(() => bench[Symbol.asyncDispose]())

const spawnWorker = () =>
  spawnProcess(new URL('../src/main.ts', import.meta.url), [], {
    REDIS_URL: bench.redisUrl,
    DATABASE_URL: bench.database.url,
    STEPWELL_MIGRATE: 'off',
    STEPWELL_STALE_S: '2',
    STEPWELL_HEALTH_PORT: '0',
  })

const storedCount = async (): Promise<number> =>
  Number((await bench.rows<{ n: string }>('select count(*) n from execution_traces'))[0]?.n)

test('a worker killed -9 in the middle of 50,000 traces: another takes over, each is there once and whole', async () => {
  const producer = new FrameProducer(bench.redis)
  const sent: string[] = []
  await using first = spawnWorker()
  const send = async (): Promise<void> => {
    // Every fifth trace is open over two frames; the others are whole.
    const deltas = Array.from({ length: PER_FRAME }, () => wholeDelta('killed', 3))
    const split = deltas.splice(0, PER_FRAME / 5).map(({ s, e, n, ...head }) => ({
      begin: { ...head, s: s?.slice(0, 2), n: [2, 2] },
      end: { t: head.t, k: 'killed', s: s?.slice(2), n, e },
    }))
    sent.push(...deltas.map((d) => d.t), ...split.map((d) => d.begin.t))
    void producer.send(...deltas, ...split.map((d) => d.begin))
    await producer.send(...split.map((d) => d.end))
  }
  while (sent.length < 0.9 * TRACES) await send()
  await waitFor(async () => (await storedCount()) > TRACES / 10, {
    what: 'the first worker is at work',
  })
  // While there is more to come: however quick it is, it is not through.
  const killed = first.kill('SIGKILL')
  while (sent.length < TRACES) await send()
  await killed
  expect(await storedCount()).toBeLessThan(TRACES)

  await using second = spawnWorker()
  await waitFor(async () => (await storedCount()) >= TRACES, {
    what: 'all traces are stored',
    intervalMs: 200,
  })
  await bench.drained()
  expect((await second.kill('SIGTERM')).code).toBe(0)
  const rows = await bench.rows<{ trace_id: string }>(
    `select trace_id from execution_traces where status = 'success' and step_count = 3 and missing_steps = 0 and metadata = '{"env":"test"}'`,
  )
  expect(rows.map((row) => row.trace_id).sort()).toEqual(sent.sort())
  expect(await bench.rows('select * from execution_dead_letters')).toEqual([])
  // Each entry was acked once, whoever did it.
  expect(await bench.redis.hgetall('stepwell:{0}:counts')).toEqual({
    stored: String((TRACES / PER_FRAME) * 2),
  })
})

test('two workers on one machine need no configuration: the port of the second is any free one', async () => {
  const env = { REDIS_URL: bench.redisUrl, DATABASE_URL: bench.database.url, STEPWELL_MIGRATE: 'off' }
  const workers = [0, 1].map(() => spawnProcess(new URL('../src/main.ts', import.meta.url), [], env))
  for (const worker of workers) {
    await waitFor(() => worker.stdout().includes('worker reads'), { what: 'it reads' })
    const health = /"health":"([^"]+)"/.exec(worker.stdout())?.[1]
    expect((await fetch(`${health}/ready`)).status).toBe(200)
  }
  for (const worker of workers) expect((await worker.kill()).code).toBe(0)
})

test('SIGTERM under load: what is in hand is committed and acked, the rest waits for the next worker', async () => {
  const producer = new FrameProducer(bench.redis)
  const t0 = newTraceId(Date.now())
  const steps: StepTuple[] = [[1, 'a', 0, 1]]
  await using worker = spawnWorker()
  for (let i = 0; i < 400; i++)
    void producer.send(...Array.from({ length: 50 }, () => wholeDelta('drained', 3)))
  await producer.send({ t: t0, b: 1, k: 'drained', s: steps, n: [1, 1], e: ['s', 1, 1] })
  await waitFor(
    async () => (await bench.rows("select 1 from execution_traces where skill_name = 'drained' limit 1"))[0],
    {
      what: 'the worker is at work',
    },
  )
  const [end, again] = await Promise.all([worker.kill('SIGTERM'), worker.kill('SIGTERM')])
  expect([end.code, again.code]).toEqual([0, 0])
  const [pending] = (await bench.redis.xpending('stepwell:{0}:events', 'stepwell')) as [number]
  expect(Number(pending)).toBe(0)
  await bench.startWorker()
  await bench.drained()
  expect(
    await bench.rows("select count(*)::int n from execution_traces where skill_name = 'drained'"),
  ).toEqual([{ n: 20_001 }])
})

test('SIGTERM while the start waits for a Redis that does not answer ends the worker cleanly', async () => {
  await using proxy = await faultProxy(bench.redisUrl)
  proxy.pause()
  await using worker = spawnProcess(new URL('../src/main.ts', import.meta.url), [], {
    REDIS_URL: proxy.url,
    DATABASE_URL: bench.database.url,
    STEPWELL_MIGRATE: 'off',
    STEPWELL_LOG_LEVEL: 'debug',
  })
  await waitFor(async () => worker.stdout().includes('waits for Redis'), { what: 'it waits' })
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null })
})

test('SIGTERM while Redis does not answer any more ends the worker within its time', async () => {
  await using proxy = await faultProxy(bench.redisUrl)
  await using worker = spawnProcess(new URL('../src/main.ts', import.meta.url), [], {
    REDIS_URL: proxy.url,
    DATABASE_URL: bench.database.url,
    STEPWELL_MIGRATE: 'off',
    STEPWELL_SHUTDOWN_S: '1',
  })
  await waitFor(async () => worker.stdout().includes('worker reads'), { what: 'it reads' })
  proxy.pause()
  const start = performance.now()
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null })
  // Less than the 20 s that it would have without being told, and much for a busy machine.
  expect(performance.now() - start).toBeLessThan(15_000)
})
