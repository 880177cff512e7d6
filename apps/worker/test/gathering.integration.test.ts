import { type Delta, GROUP, newTraceId, type StepTuple } from '@stepwell/protocol'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LATE_DUE_MS } from '../src/foldings.ts'
import { GATHER_MAX_MS } from '../src/gathering.ts'
import { readProgress } from '../src/group.ts'
import { makeShards, type Shard } from '../src/shard.ts'
import { FrameProducer } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
const { keys } = shard
let bench: Bench
let producer: FrameProducer

beforeAll(async () => {
  bench = await makeBench()
  producer = new FrameProducer(bench.redis)
})
afterAll(() => bench[Symbol.asyncDispose]())

const step = (id: number): StepTuple => [id, `step-${id}`, id, 1]
const begin = (t: string): Delta => ({ t, b: 1, k: 'gathered', x: `exec-${t}`, n: [0, 0] })
const went = (t: string, id: number): Delta => ({ t, k: 'gathered', s: [step(id)], n: [id, id] })
const end = (t: string): Delta => ({ t, k: 'gathered', n: [2, 2], e: ['s', 9, 9] })

const rowsOf = (traces: readonly string[]) =>
  bench.rows<{ trace_id: string }>(
    `select trace_id from execution_traces
      where trace_id = any($1) and status = 'success' and step_count = 2 and missing_steps = 0 and execution_id is not null`,
    [traces],
  )

const isOpen = async (t: string): Promise<boolean> => (await bench.redis.zscore(keys.due, t)) !== null

/** Resolves when all is read, and this entry is acked or still in hand. */
async function isPending(id: string): Promise<boolean> {
  await waitFor(async () => (await readProgress(bench.redis, shard))?.lag === 0, { what: 'all is read' })
  return ((await bench.redis.xpending(keys.events, GROUP, id, id, 1)) as unknown[]).length === 1
}

/** Resolves when a worker keeps the beginnings of runs to itself: what came later is acked, and they are not. */
async function gathers(): Promise<void> {
  await waitFor(
    async () => {
      const id = await producer.send(begin(newTraceId(Date.now())))
      const after = await producer.send(went(newTraceId(Date.now()), 1))
      await waitFor(async () => !(await isPending(after)), { what: 'what came later is acked' })
      return isPending(id)
    },
    { what: 'it gathers' },
  )
}

test('a run that ends soon never is in the open state; one that goes on is, after its time, and is whole in the end', async () => {
  await using _ = await bench.startWorker()
  await gathers()
  const [short, long] = [newTraceId(Date.now()), newTraceId(Date.now())]
  await producer.send(begin(short), begin(long))
  await producer.send(went(short, 1), went(long, 1))
  await producer.send(went(short, 2))
  await producer.send(end(short))
  await waitFor(async () => (await rowsOf([short])).length === 1, { what: 'it is stored' })
  expect([await isOpen(short), await isOpen(long)]).toEqual([false, false])
  expect(await bench.redis.exists(keys.open(short), keys.open(long))).toBe(0)

  await waitFor(() => isOpen(long), { what: 'the other is folded' })
  await producer.send(went(long, 2))
  await producer.send(end(long))
  await waitFor(async () => (await rowsOf([long])).length === 1, { what: 'the other is stored' })
})

test('a beginning that comes late, behind its end, does not gather', async () => {
  await using _ = await bench.startWorker()
  await gathers()
  const t = newTraceId(Date.now() - 2 * LATE_DUE_MS)
  await producer.send({ ...end(t), s: [step(1), step(2)] })
  await waitFor(
    async () => (await bench.rows('select from execution_traces where trace_id = $1', [t])).length,
    {
      what: 'the end is stored',
    },
  )
  await producer.send(begin(t))
  await waitFor(async () => (await rowsOf([t])).length === 1, {
    what: 'it is whole',
  })
})

test('when a second worker comes, what has gathered is folded, and nothing more gathers', async () => {
  await using _ = await bench.startWorker()
  await gathers()
  const t = newTraceId(Date.now())
  await using __ = await bench.startWorker()
  await waitFor(
    async () => {
      const fresh = newTraceId(Date.now())
      const sentMs = performance.now()
      await producer.send(begin(fresh))
      await waitFor(() => isOpen(fresh), { what: 'a beginning is folded' })
      return performance.now() - sentMs < GATHER_MAX_MS / 2
    },
    { what: 'beginnings are folded at once' },
  )
  await producer.send(begin(t))
  await producer.send(went(t, 1))
  await producer.send(went(t, 2))
  await producer.send(end(t))
  await waitFor(async () => (await rowsOf([t])).length === 1, { what: 'a run over both is whole' })
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a worker that gets %s while runs gather: another stores them whole',
  async (signal) => {
    await using first = spawnProcess(new URL('../src/main.ts', import.meta.url), [], {
      REDIS_URL: bench.redisUrl,
      DATABASE_URL: bench.database.url,
      STEPWELL_MIGRATE: 'off',
      STEPWELL_HEALTH_PORT: '0',
    })
    await waitFor(() => first.stdout().includes('worker reads'), { what: 'it reads' })
    await gathers()
    const traces = Array.from({ length: 500 }, () => newTraceId(Date.now()))
    await producer.send(...traces.map(begin))
    const id = await producer.send(...traces.map((t) => went(t, 1)))
    expect(await isPending(id)).toBe(true)
    await first.kill(signal)
    expect(await isPending(id)).toBe(signal === 'SIGKILL')
    await using _ = await bench.startWorker({ staleMs: 1_000 })
    await producer.send(...traces.map((t) => went(t, 2)))
    await producer.send(...traces.map(end))
    await waitFor(async () => (await rowsOf(traces)).length === traces.length, {
      what: 'all are whole',
    })
    expect(await bench.rows('select * from execution_dead_letters')).toEqual([])
  },
)
