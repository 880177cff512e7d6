import { type Delta, monthOf, newTraceId, partitionName } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { ALL_WELL, type FaultBench, type FaultWorker, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

// One worker under load, and somebody else in the same tables: one thing after the other, and the account at the end.
const SEED = 20_261_129
const CUT = `select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'somebody'`

let bench: FaultBench
let worker: FaultWorker
let load: Load
let producer: FrameProducer
/** Somebody at psql, who is never the one that a deadlock is resolved against. */
let somebody: pg.Client

beforeAll(async () => {
  bench = await openFaultBench()
  worker = await bench.startWorker()
  load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 100 }).start()
  producer = new FrameProducer(bench.redis)
  somebody = new pg.Client({ connectionString: bench.databaseUrl, application_name: 'somebody' })
  await somebody.connect()
  for (const setting of ["deadlock_timeout = '1min'", "lock_timeout = '3s'", 'statement_timeout = 0'])
    await somebody.query(`set ${setting}`)
})
afterAll(async () => {
  await load.stop()
  await somebody.end()
  await bench[Symbol.asyncDispose]()
})

test('connections-cut: sixty of them, while others are made', async () => {
  const before = await ended()
  let cut = 0
  await waitFor(
    async () => {
      cut += (await bench.rows(CUT)).length
      return cut >= 60 && (await ended()) > before + 20
    },
    { what: 'connections are cut, and runs are stored meanwhile' },
  )
  await workerHears('57P01')
})

test('deadlock over tables: a partition locked, then its parent, as by dropping a trigger', async () => {
  await waitFor(
    async () => {
      await somebody.query('begin')
      try {
        await somebody.query(`lock table ${partitionName(monthOf(Date.now()))} in access exclusive mode`)
        await aWriteIsHeldUp()
        // The write has locked the parent, so this is given only when that has given way.
        await somebody.query('lock table only execution_traces in access exclusive mode')
        return true
      } finally {
        await somebody.query('rollback')
      }
    },
    { what: 'the worker gives way' },
  )
  await workerHears('40P01')
  await othersAreStored()
})

test('deadlock over rows: locked in the opposite order', async () => {
  const [first, second] = [await begin(), await begin()]
  const before = await deadlocks()
  await somebody.query('begin')
  await touch(second)
  await producer.send(endOf(first), endOf(second))
  await aWriteIsHeldUp()
  await touch(first)
  await somebody.query('commit')
  await waitFor(async () => (await deadlocks()) > before, { what: 'it was a deadlock' })
  await othersAreStored()
})

test('serialization: a row changed meanwhile is none, though the database has repeatable read by default', async () => {
  await set('default_transaction_isolation', `'repeatable read'`)
  const run = await begin()
  await somebody.query('begin')
  await touch(run)
  await producer.send(endOf(run))
  await aWriteIsHeldUp()
  await somebody.query('commit')
  await waitFor(async () => (await statusOf(run)) === 'success', { what: 'it is stored' })
  expect(worker.stdout()).not.toContain('"code":"40001"')
  await set('default_transaction_isolation', 'default')
  await othersAreStored()
})

test('serialization: writes refused for what others do are done again', async () => {
  await somebody.query(`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception using errcode = '40001'; end $$`)
  await somebody.query(
    'create trigger refuse before insert on execution_traces for each row execute function refuse()',
  )
  await workerHears('40001')
  await somebody.query('drop function refuse cascade')
  await othersAreStored()
})

test('a row that somebody keeps locked holds up no other', async () => {
  await set('lock_timeout', `'300ms'`)
  const run = await begin()
  await somebody.query('begin')
  await touch(run)
  await producer.send(endOf(run))
  await workerHears('55P03')
  await othersAreStored()
  await aWriteIsHeldUp()
  expect(await statusOf(run)).toBe('running')
  expect(await worker.health('/ready')).toBe(200)
  await somebody.query('commit')
  await waitFor(async () => (await statusOf(run)) === 'success', { what: 'it is stored' })
  await set('lock_timeout', 'default')
})

test('a statement time-out that is shorter than a batch takes: it goes in by smaller ones', async () => {
  await somebody.query(`create function slow() returns trigger language plpgsql as
    $$ begin perform pg_sleep(0.002); return new; end $$`)
  await somebody.query(
    'create trigger slow before insert on execution_traces for each row execute function slow()',
  )
  await set('statement_timeout', `'200ms'`)
  const batch = Array.from({ length: 300 }, () => wholeDelta('batch', 1))
  for (const { t } of batch) load.runs.set(t, { status: 'success', steps: 1, errorMessage: null })
  await producer.send(...batch)
  await workerHears('57014')
  const count = `select count(*)::int n from execution_traces where skill_name = 'batch'`
  await waitFor(async () => (await bench.rows<{ n: number }>(count))[0]?.n === batch.length, {
    what: 'the batch is stored',
  })
  await set('statement_timeout', 'default')
  await somebody.query('drop trigger slow on execution_traces')
})

test('afterwards every run is stored once and whole', async () => {
  expect((await load.stop()).dropped).toEqual({})
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

const workerHears = (sqlState: string): Promise<unknown> =>
  waitFor(() => worker.stdout().includes(`"code":"${sqlState}"`), { what: `the worker hears ${sqlState}` })

async function aWriteIsHeldUp(): Promise<void> {
  const heldUp = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    and query like 'insert into execution_traces%'`
  await waitFor(async () => (await bench.rows(heldUp)).length > 0, { what: 'a write waits for a lock' })
}

async function deadlocks(): Promise<number> {
  const rows = await bench.rows<{ n: number }>(
    'select deadlocks::int n from pg_stat_database where datname = current_database()',
  )
  return rows[0]?.n ?? 0
}

/** For connections from now on: the old ones are cut. */
async function set(name: string, value: string): Promise<void> {
  await bench.rows(`do $$ begin
    execute format('alter database %I set ${name} = ${value.replaceAll("'", "''")}', current_database()); end $$`)
  await bench.rows(CUT)
}

/** Begins a run and waits until it is stored as running. */
async function begin(): Promise<string> {
  const t = newTraceId(Date.now())
  load.runs.set(t, { status: 'success', steps: 0, errorMessage: null })
  await producer.send({ t, b: 1, k: 'open', n: [0, 0] } satisfies Delta)
  await waitFor(async () => (await statusOf(t)) === 'running', { what: 'it is stored as running' })
  return t
}

const endOf = (t: string): Delta => ({ t, k: 'open', n: [0, 0], e: ['s', 1, 1] })

/** Locks the row, and changes nothing. */
const touch = (t: string): Promise<unknown> =>
  somebody.query('update execution_traces set version = version where trace_id = $1', [t])

async function statusOf(t: string): Promise<unknown> {
  return (await bench.rows('select status from execution_traces where trace_id = $1', [t]))[0]?.status
}

const ended = async (): Promise<number> =>
  (await bench.rows(`select 1 from execution_traces where status <> 'running'`)).length

/** Whole runs, and such as come in parts. */
async function othersAreStored(): Promise<void> {
  const stored = async (): Promise<number[]> => {
    const [row] = await bench.rows<{ whole: number; open: number }>(
      `select count(*) filter (where skill_name = 'short')::int whole, count(*) filter (where skill_name = 'slow')::int open
         from execution_traces where status <> 'running'`,
    )
    return [row?.whole ?? 0, row?.open ?? 0]
  }
  const before = await stored()
  await waitFor(async () => (await stored()).every((count, i) => count > (before[i] as number) + 10), {
    what: 'runs are stored, whole ones and such as come in parts',
  })
}
