import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { TracerReport } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_126
const PAUSE_MS = 10_000

test('redis-paused-10-s: stopped like a machine that hangs, under load: producers record on, workers say so, and all is stored', async () => {
  await using bench = await openFaultBench()
  await Promise.all([bench.startWorker(), bench.startWorker()])
  const reports: TracerReport[] = []
  const load = new Load({
    redis: bench.server.url,
    seed: SEED,
    runsPerSecond: 300,
    tracer: { report: (report) => reports.push(report) },
  }).start()
  await waitFor(async () => (await bench.rows('select 1 from execution_traces limit 200')).length === 200, {
    what: 'runs are stored',
  })
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  const before = load.tracer.counters()
  const untilMs = performance.now() + PAUSE_MS
  bench.server.pause()
  await bench.allSay('/ready', 503)
  await bench.allSay('/live', 200)
  // Runs begin and end as before: nothing in them waits for Redis.
  await waitFor(() => load.tracer.counters().emitted > before.emitted + 10_000, {
    what: 'as much is recorded as in any ten seconds',
  })
  await waitFor(() => performance.now() >= untilMs, { what: 'ten seconds pass' })
  await bench.allSay('/ready', 503)
  await bench.allSay('/live', 200)
  bench.server.resume()
  delay.disable()
  await bench.allSay('/ready', 200)
  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  // The whole of it is one episode, if the client came to notice before it was over.
  expect(reports.map(({ kind }) => kind).join()).toMatch(/^(trouble,recovered)?$/)
  expect(delay.max / 1e6).toBeLessThan(PAUSE_MS / 2)
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})
