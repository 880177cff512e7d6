import { openDatabase, TraceWriter } from '@stepwell/storage'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { OutageGate } from '../../apps/worker/src/outage.ts'
import { makeShards } from '../../apps/worker/src/shard.ts'
import { Store } from '../../apps/worker/src/store.ts'
import { sweepLostTraces } from '../../apps/worker/src/sweep.ts'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'
import { seededRandom } from './seeded-random.ts'

const SEED = 20_261_125

test('redis-killed-and-restarted-with-aof: what it accepted is stored, three times over, and workers say when it is away', async () => {
  // Synced at each write, so that "accepted" means on disk.
  await using bench = await openFaultBench({ redis: { appendonly: true, args: ['--appendfsync', 'always'] } })
  await Promise.all([bench.startWorker(), bench.startWorker()])
  const random = seededRandom(SEED)
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 300 }).start()
  for (let kill = 0; kill < 3; kill++) {
    const momentMs = performance.now() + 500 + random() * 1_000
    await waitFor(() => performance.now() >= momentMs, { what: 'its moment comes', intervalMs: 1 })
    await bench.server.kill()
    if (kill === 0) await bench.allSay('/ready', 503)
    await bench.allSay('/live', 200)
    await bench.server.restart()
    await bench.allSay('/ready', 200)
  }
  await waitFor(() => load.runs.size > 1_000, { what: 'there were many runs' })
  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

test('redis-restarted-empty: what was in flight is gone and shows, everything begun afterwards is stored whole, workers go on by themselves', async () => {
  await using bench = await openFaultBench()
  await Promise.all([bench.startWorker(), bench.startWorker()])
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 300 }).start()
  await waitFor(async () => (await storedIds(bench)).length > 500, { what: 'runs are stored' })
  const schedulers = async (): Promise<string[]> =>
    (await bench.redis.zrange('stepwell:{maintenance}:maintenance:repeat', '0', '-1')).sort()
  const jobs = await schedulers()
  expect(jobs).toContain('lost-traces')
  const storedBefore = await storedIds(bench)
  await bench.server.kill()
  await bench.server.restart()
  const before = new Set(load.runs.keys())
  await waitFor(() => load.runs.size > before.size + 900, { what: 'as many again' })
  expect(await load.stop()).toMatchObject({ dropped: {}, buffered: 0 })
  await waitFor(async () => (await schedulers()).join() === jobs.join(), {
    what: 'the jobs are scheduled again',
  })
  await bench.allSay('/ready', 200)

  const whole = new Set(storedBefore)
  const expected = new Map([...load.runs].filter(([id]) => !before.has(id) || whole.has(id)))
  const { unknown, ...account } = await bench.account(expected)
  // Those that were open or on their way: some are stored, some in part. None that has a hole looks whole.
  const { unknown: _, ...well } = ALL_WELL
  expect(account, `seed ${SEED}`).toEqual(well)
  expect(unknown.filter((id) => !before.has(id))).toEqual([])
  const rows = await bench.rows<{ id: string; status: string; steps: number; missing: number }>(
    'select trace_id id, status, step_count steps, missing_steps missing from execution_traces where trace_id = any($1)',
    [unknown],
  )
  const looksWhole = rows.filter(({ status, missing }) => status !== 'running' && missing === 0)
  expect(looksWhole.filter(({ id, steps }) => load.runs.get(id)?.steps !== steps)).toEqual([])
  // What still says "running" is what the sweep ends.
  await sweep(bench)
  expect(await bench.rows(`select 1 from execution_traces where status = 'running'`)).toEqual([])
})

async function storedIds(bench: FaultBench): Promise<string[]> {
  const rows = await bench.rows<{ id: string }>(
    `select trace_id id from execution_traces where status <> 'running' and missing_steps = 0`,
  )
  return rows.map(({ id }) => id)
}

async function sweep({ redis, databaseUrl }: FaultBench): Promise<void> {
  const storage = openDatabase(databaseUrl)
  const store = new Store(new TraceWriter(storage), new OutageGate(() => {}), new AbortController().signal)
  const options = { silenceMs: 60_000, nowMs: Date.now() + 1_000, lostAfterMs: 0 }
  await sweepLostTraces(redis, storage, store, makeShards('stepwell', 1), options)
  await storage.close()
}
