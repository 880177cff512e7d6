import { ExecutionTracer } from '@stepwell/client'
import { shardKeys } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from '../faults/fault-bench.ts'
import type { ExpectedRun } from '../faults/load.ts'

const LEVELS = [1_000, 10_000, 50_000]
const TRACES = 50_000
/** Traces that are begun or ended before the event loop goes on. */
const AT_ONCE = 500

test('50,000 traces open at once, then all end: each is stored whole, and costs what it costs among 1,000', {
  timeout: 300_000,
}, async () => {
  await using bench = await openFaultBench()
  const worker = await bench.startWorker({ STEPWELL_CHECKPOINT_S: '2', STEPWELL_STALE_S: '30' })
  const usedBytes = async (): Promise<number> =>
    Number(/used_memory:(\d+)/.exec(await bench.redis.info('memory'))?.[1])
  const openCount = (): Promise<number> => bench.redis.zcard(shardKeys('stepwell', 0).due)
  const tracer = new ExecutionTracer({ redis: bench.server.url, closeTimeoutMs: 60_000, report: () => {} })
  await tracer.flush()

  const runs = new Map<string, ExpectedRun>()
  const costs: { traces: number; clientUs: number; workerUs: number; redisBytes: number }[] = []
  let workerMaxBytes = 0
  const cpuSeconds = async (): Promise<number> => {
    workerMaxBytes = Math.max(workerMaxBytes, await worker.metric('process_resident_memory_bytes'))
    return worker.metric('process_cpu_seconds_total')
  }
  // In one flow, each begun in the one before: the worst case for finding out where code runs.
  for (const level of LEVELS) {
    const [cpuBefore, bytesBefore, openBefore] = [await cpuSeconds(), await usedBytes(), runs.size]
    let clientUs = 0
    while (runs.size < level) {
      const before = process.cpuUsage()
      for (let i = 0; i < AT_ONCE; i++) {
        const traceId = tracer.startTrace('waits', {
          executionId: `exec-${runs.size}`,
          metadata: { env: 'test' },
        })
        tracer.attach({ traceId }).recordStep('begin', 1)
        runs.set(traceId, { status: 'success', steps: 2, errorMessage: null })
      }
      const { user, system } = process.cpuUsage(before)
      clientUs += user + system
      await tracer.flush()
    }
    await waitFor(async () => (await openCount()) === level, { what: 'all are open' })
    const traces = level - openBefore
    costs.push({
      traces: level,
      clientUs: clientUs / traces,
      workerUs: (((await cpuSeconds()) - cpuBefore) / traces) * 1e6,
      redisBytes: ((await usedBytes()) - bytesBefore) / traces,
    })
  }
  await waitFor(
    async () =>
      (
        await bench.rows<{ n: number }>(
          `select count(*)::int n from execution_traces where status = 'running'`,
        )
      )[0]?.n === TRACES,
    { what: 'all are stored as running', intervalMs: 200 },
  )
  const heapBytes = process.memoryUsage().heapUsed

  const cpuBefore = await cpuSeconds()
  const endedAtMs = performance.now()
  let ended = 0
  for (const traceId of runs.keys()) {
    tracer.attach({ traceId }).recordStep('end', 1)
    tracer.endTrace('success', { traceId })
    if (++ended % AT_ONCE === 0) await tracer.flush()
  }
  expect(await tracer.close()).toMatchObject({ emitted: 4 * TRACES, sent: 4 * TRACES, dropped: {} })
  await waitFor(async () => (await openCount()) === 0, { what: 'all are stored', timeoutMs: 90_000 })
  const endUs = (((await cpuSeconds()) - cpuBefore) / TRACES) * 1e6
  console.log(
    [
      ...costs.map(
        ({ traces, clientUs, workerUs, redisBytes }) =>
          `up to ${traces} open: to begin one ${clientUs.toFixed(1)} µs of the client's CPU, ${workerUs.toFixed(0)} of a worker's; ${redisBytes.toFixed(0)} bytes of Redis`,
      ),
      `all ended and stored within ${((performance.now() - endedAtMs) / 1_000).toFixed(1)} s, ${endUs.toFixed(0)} µs of a worker's CPU each; worker at most ${(workerMaxBytes / 2 ** 20).toFixed(0)} MiB, this process ${(heapBytes / 2 ** 20).toFixed(0)} MiB of heap`,
    ].join('\n'),
  )
  for (const [i, more] of costs.slice(1).entries()) {
    const fewer = costs[i] as (typeof costs)[number]
    // Were it quadratic, those among 50,000 would cost several times as much.
    expect(more.clientUs).toBeLessThan(2.5 * fewer.clientUs)
    expect(more.workerUs).toBeLessThan(2.5 * fewer.workerUs)
    expect(more.redisBytes).toBeLessThan(2_048)
  }
  expect(workerMaxBytes).toBeLessThan(512 << 20)
  expect(heapBytes).toBeLessThan(256 << 20)
  expect(await bench.account(runs)).toEqual(ALL_WELL)
})
