import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from '../faults/fault-bench.ts'
import { spawnLongTrace } from './long-trace.ts'

const STEPS = 1_000_000

test('a trace that does not end: Redis holds what is new of it, and no worker needs more memory for it', async () => {
  await using bench = await openFaultBench()
  // As in a small container: all of these steps at once would need five times as much.
  const worker = await bench.startWorker({ NODE_OPTIONS: '--max-old-space-size=160' })
  await using producer = spawnLongTrace(bench, STEPS)
  let openMaxBytes = 0
  let isOver = false
  void producer.exited.then(() => {
    isOver = true
  })
  await waitFor(
    async () => {
      for (const key of await bench.redis.keys('stepwell:{0}:open:*'))
        openMaxBytes = Math.max(openMaxBytes, Number(await bench.redis.memory('USAGE', key)))
      expect(await worker.health('/live')).toBe(200)
      return isOver
    },
    { what: 'all is recorded', timeoutMs: 90_000, intervalMs: 100 },
  )
  const { traceId } = JSON.parse(producer.stdout())
  await waitFor(
    async () =>
      (
        await bench.rows(`select 1 from execution_traces where trace_id = $1 and status = 'success'`, [
          traceId,
        ])
      ).length === 1,
    { what: 'the trace is stored' },
  )
  const rssBytes = await worker.metric('process_resident_memory_bytes')
  console.log(
    `${STEPS} steps: at most ${(openMaxBytes / 2 ** 20).toFixed(0)} MiB open in Redis, ${(rssBytes / 2 ** 20).toFixed(0)} MiB of a worker`,
  )
  expect(openMaxBytes).toBeLessThan(48 << 20)
  expect(await bench.rows('select step_count, missing_steps, status from execution_traces')).toEqual([
    { step_count: 10_000, missing_steps: STEPS - 10_000, status: 'success' },
  ])
  expect(await bench.account(new Map())).toEqual({ ...ALL_WELL, unknown: [traceId] })
})
