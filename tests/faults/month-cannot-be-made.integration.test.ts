import { fileURLToPath } from 'node:url'
import { monthOf, partitionName } from '@stepwell/protocol'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import { type ExpectedRun, Load } from './load.ts'

const SEED = 20_261_127
const MAY_2019 = Date.UTC(2019, 4, 20)
const JUNE_2019 = Date.UTC(2019, 5, 20)

test('month-cannot-be-made: its traces are put aside and said why, or wait for a lock; all others are stored meanwhile', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  const producer = new FrameProducer(bench.redis)
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 200 }).start()

  // Something else has the name of the partition: that does not pass by itself.
  await bench.pool.query('create view execution_traces_2019_05 as select 1')
  const may = await sendMonth(producer, MAY_2019)
  await waitFor(async () => (await letters(bench)).length === may.deltas, {
    what: 'all of May are put aside',
  })
  expect([...new Set(await letters(bench))]).toEqual([
    expect.stringMatching(/the partition of 2019-05 cannot be made: .*"execution_traces_2019_05"/),
  ])
  await othersAreStored(bench)
  await bench.pool.query('drop view execution_traces_2019_05')
  const replay = spawnProcess(
    fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url)),
    ['dead', 'replay'],
    { REDIS_URL: bench.server.url, DATABASE_URL: bench.databaseUrl },
  )
  expect(await replay.exited, replay.stderr()).toEqual({ code: 0, signal: null })
  await waitFor(async () => (await storedOf(bench, MAY_2019)) === may.runs.size, { what: 'May is stored' })

  // A lock that keeps tables from being attached and rows from nothing: what a backup does to retention, or an analyze.
  const holder = await bench.pool.connect()
  await holder.query('begin; lock table execution_traces in share update exclusive mode')
  const june = new Map<string, ExpectedRun>()
  const attaching = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'attach partition' and datname = current_database()`
  for (let attempt = 0; attempt < 3; attempt++) {
    for (const [id, run] of (await sendMonth(producer, JUNE_2019)).runs) june.set(id, run)
    await waitFor(async () => (await bench.rows(attaching)).length > 0, { what: 'a worker tries' })
    await othersAreStored(bench)
    await waitFor(async () => (await bench.rows(attaching)).length === 0, { what: 'it gives way' })
  }
  expect(await storedOf(bench, JUNE_2019)).toBe(0)
  expect(await letters(bench)).toEqual([])
  await holder.query('commit')
  holder.release()
  const { dropped } = await load.stop()
  expect(dropped).toEqual({})
  const runs = new Map([...load.runs, ...may.runs, ...june])
  expect(await bench.account(runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

test('this-month-cannot-be-made: nothing is judged, workers say that they are not ready, all is stored when that is mended', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 100 }).start()
  await waitFor(async () => (await bench.rows('select 1 from execution_traces')).length > 50, {
    what: 'runs are stored',
  })
  const name = partitionName(monthOf(Date.now()))
  await bench.pool.query(`alter table execution_traces detach partition ${name};
    alter table ${name} rename to aside; create view ${name} as select 1`)
  await bench.allSay('/ready', 503)
  await bench.allSay('/live', 200)
  const runs = load.runs.size
  await waitFor(() => load.runs.size > runs + 100, { what: 'more runs' })
  expect(await letters(bench)).toEqual([])
  await bench.pool.query(`drop view ${name}; alter table aside rename to ${name}`)
  await bench.allSay('/ready', 200)
  expect((await load.stop()).dropped).toEqual({})
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

/** A hundred whole runs of a month, and one that comes in two parts. */
async function sendMonth(
  producer: FrameProducer,
  startMs: number,
): Promise<{ runs: Map<string, ExpectedRun>; deltas: number }> {
  const whole = Array.from({ length: 100 }, (_, i) => wholeDelta('old', 2, startMs + i))
  const { s, e, n, ...head } = wholeDelta('old', 2, startMs)
  await producer.send(...whole, { ...head, s: s?.slice(0, 1), n: [1, 1] })
  await producer.send({ t: head.t, k: 'old', s: s?.slice(1), n, e })
  const run: ExpectedRun = { status: 'success', steps: 2, errorMessage: null }
  return { runs: new Map([...whole, head].map(({ t }) => [t, run])), deltas: whole.length + 2 }
}

async function othersAreStored(bench: FaultBench): Promise<void> {
  const before = await storedOf(bench, Date.now())
  await waitFor(async () => (await storedOf(bench, Date.now())) > before + 30, {
    what: 'runs of this month are stored',
  })
  await bench.allSay('/ready', 200)
}

/** Rows of the month of this time that say they have ended. */
async function storedOf(bench: FaultBench, timeMs: number): Promise<number> {
  const [row] = await bench.rows<{ n: number }>(
    `select count(*)::int n from execution_traces
      where date_trunc('month', started_at, 'UTC') = date_trunc('month', $1::timestamptz, 'UTC') and status <> 'running'`,
    [new Date(timeMs)],
  )
  return row?.n ?? 0
}

const letters = async (bench: FaultBench): Promise<string[]> =>
  (await bench.rows<{ reason: string }>('select reason from execution_dead_letters')).map(
    ({ reason }) => reason,
  )
