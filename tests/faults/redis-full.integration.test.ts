import type { TracerReport } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_128
const LONG_RUNS = 50
/** What Redis may take beyond what it holds when the limit is set. */
const ROOM_BYTES = 512 << 10

test('redis-full: workers store directly and make room, also those that start then; what the client could not keep is counted, the rest is stored', async () => {
  await using bench = await openFaultBench()
  const first = await bench.startWorker()
  const reports: TracerReport[] = []
  const load = new Load({
    redis: bench.server.url,
    seed: SEED,
    runsPerSecond: 300,
    tracer: { report: (report) => reports.push(report), bufferMaxBytes: 512 << 10 },
  }).start()

  // Runs that last through it all: what they say first is folded into the open state, the rest goes whatever way there is.
  const stages = [0, 1, 2].map(() => Promise.withResolvers<void>())
  const longIds = new Set<string>()
  const long = Array.from({ length: LONG_RUNS }, (_, i) =>
    load.tracer.trace('long', { executionId: `long-${i}` }, async (t) => {
      longIds.add(t.context().traceId)
      load.runs.set(t.context().traceId, { status: 'success', steps: 4, errorMessage: null })
      await t.step('before', () => {})
      for (const [stage, { promise }] of stages.entries()) {
        await promise
        await t.step(`stage-${stage}`, () => {})
      }
    }),
  )
  const running = `select 1 from execution_traces where skill_name = 'long' and status = 'running' and step_count = 1`
  await waitFor(async () => (await bench.rows(running)).length === LONG_RUNS, {
    what: 'the long runs are stored as running',
  })

  // Nobody reads, so it fills.
  await first.kill('SIGKILL')
  await limitMemory(bench)
  stages[0]?.resolve()
  await waitFor(() => reports.length > 0, { what: 'Redis refuses frames' })
  expect(reports).toMatchObject([{ kind: 'trouble', message: expect.stringContaining('OOM'), dropped: {} }])
  stages[1]?.resolve()
  await waitFor(() => (load.tracer.counters().dropped.buffer_full ?? 0) > 0, {
    what: 'the client has no room either',
  })

  const workers = await Promise.all([bench.startWorker(), bench.startWorker()])
  await bench.allSay('/ready', 200)
  for (const worker of workers)
    await waitFor(async () => (await worker.metric('stepwell_redis_full{shard="0"}')) === 1, {
      what: 'a worker tells that Redis is full',
    })
  await waitFor(() => reports.length > 1, { what: 'there is room again' })
  const jobsMs = await nextJobMs(bench)
  stages[2]?.resolve()
  await Promise.all(long)
  const many = load.runs.size + 1_000
  await waitFor(() => load.runs.size > many, {
    what: 'more than there is room for passes',
  })
  await bench.allSay('/live', 200)
  await bench.allSay('/ready', 200)

  const { emitted, sent, buffered, dropped } = await load.stop()
  const lost = dropped.buffer_full ?? 0
  expect({ dropped, buffered, sent }).toEqual({
    dropped: { buffer_full: lost },
    buffered: 0,
    sent: emitted - lost,
  })
  // Each time it tells once that there is trouble and once that it is over.
  expect(reports.map(({ kind }) => kind)).toEqual(
    reports.map((_, i) => (i % 2 === 0 ? 'trouble' : 'recovered')),
  )
  await waitFor(async () => (await nextJobMs(bench)) > jobsMs, {
    what: 'maintenance goes on',
  })
  // As small as it is, it is enough.
  const { wrong, missing, ...account } = await bench.account(load.runs)
  const { wrong: _, missing: __, ...well } = ALL_WELL
  expect(account, `seed ${SEED}`).toEqual(well)
  for (const worker of workers) expect(worker.stdout().split('\n').length).toBeLessThan(50)

  // What is not there is what the client has counted: runs whose start it had no room for, and steps.
  expect(missing.filter((id) => longIds.has(id))).toEqual([])
  // A step is missing too where a checkpoint told of it while it was open, and its end is what was lost.
  const holes = await bench.rows<{ id: string; status: string; ended: number; missing: number }>(
    `select trace_id id, status, missing_steps missing,
            (select count(*)::integer from json_array_elements(steps) step where step ->> 3 is not null) ended
       from execution_traces where missing_steps > 0`,
  )
  expect(holes.map(({ id }) => id).sort()).toEqual(wrong.map((text) => text.slice(0, 36)).sort())
  for (const { id, ...hole } of holes) {
    expect(longIds.has(id)).toBe(false)
    const run = load.runs.get(id)
    expect({ status: hole.status, steps: hole.ended + hole.missing }).toEqual({
      status: run?.status,
      steps: run?.steps,
    })
  }
  const ofMissing = missing.reduce((sum, id) => sum + 2 + (load.runs.get(id)?.steps ?? 0), 0)
  expect(ofMissing + holes.reduce((sum, hole) => sum + hole.missing, 0)).toBe(lost)
})

async function limitMemory({ redis }: FaultBench): Promise<void> {
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
  await redis.config('SET', 'maxmemory', used + ROOM_BYTES)
}

/** When the job that runs every five seconds runs next. */
async function nextJobMs({ redis }: FaultBench): Promise<number> {
  return Number(await redis.zscore('stepwell:{maintenance}:maintenance:repeat', 'timeouts'))
}
