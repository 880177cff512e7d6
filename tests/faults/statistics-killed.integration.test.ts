import { newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { expect, test } from 'vitest'
import { openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'
import { seededRandom } from './seeded-random.ts'

const SEED = 20_261_127
const DAY_MS = 86_400_000
const ROUNDS_MIN = 3

/** Begins its transactions in a snapshot that another has taken. */
class SnapshotClient extends pg.Client {
  static snapshot = ''
  // biome-ignore lint/suspicious/noExplicitAny: as the method that it stands before.
  override query(...args: any[]): any {
    const [first] = args
    const text: string = typeof first === 'string' ? first : first.text
    const done = super.query(...(args as [string]))
    if (!/^start transaction/.test(text)) return done
    return Promise.resolve(done).then(async (result) => {
      await super.query(`set transaction snapshot '${SnapshotClient.snapshot}'`)
      return result
    })
  }
}

interface Counts {
  name: string
  running: number
  success: number
  failed: number
  timeout: number
}

const counted = (
  name: string,
) => `${name} as name, count(*) filter (where status = 'running')::int as running,
  count(*) filter (where status = 'success')::int as success, count(*) filter (where status = 'failed')::int as failed,
  count(*) filter (where status = 'timeout')::int as timeout`

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1)

test('workers and jobs killed -9 while they write, roll up, delete and add to the past: at every moment statistics say what the traces say', async () => {
  await using bench = await openFaultBench()
  const { databaseUrl } = bench
  const random = seededRandom(SEED)
  const holder = await bench.pool.connect()
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, Client: SnapshotClient } as pg.PoolConfig)
  const query = new TraceQuery(pool)
  // Also where the test fails: the bench waits for its connections to come back.
  await using _connections = {
    [Symbol.asyncDispose]: async () => {
      holder.release(true)
      await query.close()
      await pool.end()
    },
  }
  let compared = 0

  const compare = async (): Promise<void> => {
    const until = Date.now() + DAY_MS
    const days = [2, 45, 45 * random()] as const
    const since = until - (days[compared % 3] as number) * DAY_MS
    const window = [new Date(since), new Date(until)]
    await holder.query('begin isolation level repeatable read read only')
    SnapshotClient.snapshot = (await holder.query('select pg_export_snapshot() as id')).rows[0].id
    const traces = await holder.query<Counts>(
      `select ${counted('skill_name')} from execution_traces where started_at between $1 and $2 and skill_name <> '' group by skill_name`,
      window,
    )
    // Sorted first: which skill comes first is up to the plan, and the same is asked for twice.
    traces.rows.sort(byName)
    const skill = traces.rows[0]?.name
    const steps = await holder.query<Counts>(
      `select ${counted('name')} from trace_steps where trace_started_at between $1 and $2 and skill_name = $3 group by name`,
      [...window, skill],
    )
    const { skills } = await query.skillStats({ since, until, limit: 1_000, bucket: 'day' })
    const numbers = <T extends Record<string, unknown>>(name: string, one: T) => ({
      name,
      running: one.runningCount,
      success: one.successCount,
      failed: one.failedCount,
      timeout: one.timeoutCount,
    })
    expect(
      skills.map(({ skillName, ...one }) => numbers(skillName, { ...one })).sort(byName),
      `seed ${SEED}, comparison ${compared}`,
    ).toEqual(traces.rows)
    const told =
      skill === undefined ? [] : (await query.stepStats({ skill, since, until, limit: 1_000 })).steps
    expect(
      told.map(({ stepName, ...one }) => numbers(stepName, { ...one })).sort(byName),
      `seed ${SEED}, steps, comparison ${compared}`,
    ).toEqual(steps.rows.sort(byName))
    await holder.query('commit')
    compared += 1
  }

  /** Runs of the past, and of those some that go again. */
  const changeThePast = async (storage: TraceStorage): Promise<void> => {
    const ids = Array.from({ length: 10 }, () =>
      newTraceId(Math.floor(Date.now() - 40 * DAY_MS * random() ** 3)),
    )
    await Promise.all(
      ids.map((traceId, i) =>
        storage.finalizeTrace(
          {
            traceId,
            skillName: `late-${i % 3}`,
            startedAt: new Date(Number.parseInt(traceId.replaceAll('-', '').slice(0, 12), 16)),
          },
          i % 4 === 0 ? 'failed' : 'success',
        ),
      ),
    )
    await Promise.all(ids.slice(0, 3).map((id) => storage.deleteTrace(id)))
  }

  await using storage = new TraceStorage(databaseUrl)
  await bench.startWorker()
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 200 }).start()
  for (let kill = 0; kill < 4; kill++) {
    const worker = await bench.startWorker()
    const rollers = [0, 1].map(() => spawnProcess(new URL('./rolling.ts', import.meta.url), [databaseUrl]))
    await waitFor(() => rollers.every((roller) => roller.stdout().includes('rolling')), {
      what: 'they roll up',
    })
    const untilMs = performance.now() + 200 + 300 * random()
    // So often on a busy machine too that jobs have days to roll up.
    for (let round = 0; round < ROUNDS_MIN || performance.now() < untilMs; round++)
      await Promise.all([compare(), changeThePast(storage)])
    expect(rollers.map((roller) => roller.stderr())).toEqual(['', ''])
    await Promise.all([worker, ...rollers].map((process) => process.kill('SIGKILL')))
  }
  await load.stop()
  // Nobody rolls up any more: what is marked, and what is not.
  await compare()
  const { rows } = await bench.pool.query(
    'select count(*)::int as rollups, (select count(*)::int from execution_rollups where width_s = 86400) as days from execution_rollups',
  )
  expect(rows[0].days).toBeGreaterThan(10)
  expect(compared).toBeGreaterThan(4)
})
