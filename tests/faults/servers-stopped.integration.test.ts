import { migrateToLatest } from '@stepwell/storage'
import { startPostgres, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_126
/** Longer than the 30 s without progress after which a worker counts as stuck. */
const OUTAGE_MS = 32_000

// Both at the same time: most of it is waiting.
test.concurrent('postgres-stopped: for half a minute under load, then killed -9: workers wait and say so, all is stored', async ({
  expect,
}) => {
  await using postgres = await startPostgres()
  await migrateToLatest({ connectionString: postgres.url })
  await using bench = await openFaultBench({ database: postgres.url })
  await Promise.all([bench.startWorker(), bench.startWorker()])
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 300 }).start()
  await waitFor(async () => (await stored(bench)) > 300, { what: 'runs are stored' })

  await postgres.shutDown()
  const backAtMs = performance.now() + OUTAGE_MS
  await sayItIsAway(bench)
  // One that comes meanwhile takes up its work, and leaves when it is told to.
  const late = await bench.startWorker()
  expect(await late.kill('SIGTERM')).toEqual({ code: 0, signal: null })
  bench.workers.pop()
  await waitFor(
    async () => {
      await sayItIsAway(bench)
      return performance.now() >= backAtMs
    },
    { what: 'half a minute is over', timeoutMs: 3 * OUTAGE_MS, intervalMs: 500 },
  )
  await postgres.restart()
  await sayItIsBack(bench)

  await postgres.kill()
  await sayItIsAway(bench)
  await postgres.restart()
  await sayItIsBack(bench)
  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  expect(load.runs.size).toBeGreaterThan(1_000)
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

test.concurrent('redis-stopped: for half a minute: a worker waits and says so, and goes on', async ({
  expect,
}) => {
  await using bench = await openFaultBench({ redis: { appendonly: true } })
  const worker = await bench.startWorker()
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 20 }).start()
  await waitFor(async () => (await stored(bench)) > 20, { what: 'runs are stored' })
  await bench.server.shutDown()
  const backAtMs = performance.now() + OUTAGE_MS
  await bench.allSay('/ready', 503)
  await waitFor(
    async () => {
      expect([await worker.health('/live'), await worker.health('/ready')]).toEqual([200, 503])
      return performance.now() >= backAtMs
    },
    { what: 'half a minute is over', timeoutMs: 3 * OUTAGE_MS, intervalMs: 2_000 },
  )
  await bench.server.restart()
  await bench.allSay('/ready', 200)
  expect((await load.stop()).dropped).toEqual({})
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

const stored = async (bench: FaultBench): Promise<number> =>
  Number((await bench.rows<{ n: string }>('select count(*) n from execution_traces'))[0]?.n)

async function sayItIsAway(bench: FaultBench): Promise<void> {
  await bench.allSay('/ready', 503)
  for (const worker of bench.workers) {
    expect(await worker.health('/live')).toBe(200)
    expect(await worker.metric('stepwell_database_available')).toBe(0)
  }
}

async function sayItIsBack(bench: FaultBench): Promise<void> {
  await bench.allSay('/ready', 200)
  for (const worker of bench.workers) expect(await worker.metric('stepwell_database_available')).toBe(1)
}
