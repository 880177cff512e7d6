import { ExecutionTracer } from '@stepwell/client'
import { addMonths, monthBounds, monthOf, partitionName } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import {
  dropPartitionsBefore,
  ensurePartitions,
  migrateToLatest,
  openDatabase,
  rebuildFailures,
} from '@stepwell/storage'
import { caughtUp, type PrivateServer, startPostgres, startPostgresReplica, waitFor } from '@stepwell/testkit'
import { redisForFile, services } from '@stepwell/testkit/vitest'
import { createWorker, type StepwellWorker } from '@stepwell/worker'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Document, runCli } from './cli-bench.ts'

let primary: PrivateServer
let replica: PrivateServer
let onPrimary: pg.Pool
let onReplica: pg.Pool
let worker: StepwellWorker
let tracer: ExecutionTracer
let env: Record<string, string>

beforeAll(async () => {
  // Nor what is cleaned up in between.
  primary = await startPostgres({ settings: { autovacuum: 'off' } })
  await migrateToLatest({ connectionString: primary.url })
  // A conflict with what is replayed is settled at once, against the query.
  replica = await startPostgresReplica(primary, { settings: { max_standby_streaming_delay: '0' } })
  onPrimary = new pg.Pool({ connectionString: primary.url })
  onReplica = new pg.Pool({ connectionString: replica.url })
  for (const pool of [onPrimary, onReplica]) pool.on('error', () => {})
  const redisUrl = await redisForFile()
  worker = await createWorker({ redis: redisUrl, database: primary.url, migrate: false })
  tracer = new ExecutionTracer({ redis: redisUrl })
  env = { REDIS_URL: redisUrl, DATABASE_URL: primary.url, DATABASE_REPLICA_URL: replica.url }
})
afterAll(async () => {
  await tracer.close()
  await worker.close()
  await onPrimary.end()
  await onReplica.end()
  await Promise.all([primary.stop(), replica.stop()])
})

async function record(skill: string): Promise<string> {
  const traceId = tracer.trace(skill, (t) => {
    t.recordStep('work', 1)
    return t.traceId
  })
  await tracer.flush()
  await waitFor(
    async () =>
      (await onPrimary.query('select from execution_traces where trace_id = $1', [traceId])).rowCount,
    { what: 'it is stored' },
  )
  return traceId
}

const cli = async (args: string[], more: Record<string, string> = {}) => {
  const { code, stdout, stderr } = await runCli([...args, '--json'], { ...env, ...more })
  const document: Document = stdout === '' ? undefined : JSON.parse(stdout)
  return { code, stderr, document }
}

test('reading commands ask the replica; what decides something asks the primary; doctor tells the lag', async () => {
  await record('first')
  await caughtUp(replica, primary)
  await onReplica.query('select pg_wal_replay_pause()')
  const second = await record('second')
  const [seen, audit, doctor] = await Promise.all([
    cli(['traces']),
    cli(['doctor', '--audit']),
    cli(['doctor']),
  ])
  expect(seen.document.traces.map((trace: Document) => trace.skill_name)).toEqual(['first'])
  expect(audit).toMatchObject({ code: 0, document: { emitted: 2, stored: 2, lost: 0 } })
  const check = (of: typeof doctor, name: string) =>
    of.document.checks.find((one: Document) => one.area === 'postgres' && one.name === name)
  expect(check(doctor, 'replica')).toMatchObject({ status: 'ok', found: 'yes' })
  expect(check(doctor, 'replica lag')).toMatchObject({
    area: 'postgres',
    status: 'warn',
    found: expect.stringMatching(/^\d[^,]+, \d.* (K?i?B), replay is paused$/),
    advice: expect.stringMatching(/pg_stat_replication/),
  })
  // Removed on the primary, though the replica has never seen it.
  expect(await runCli(['delete', '--trace', second], env)).toMatchObject({
    code: 0,
    stdout: 'deleted 1 trace\n',
  })
  await onReplica.query('select pg_wal_replay_resume()')
  await caughtUp(replica, primary)

  const [good, isPrimary, another, swapped, away] = await Promise.all([
    cli(['doctor']),
    cli(['doctor'], { DATABASE_REPLICA_URL: primary.url }),
    cli(['doctor'], { DATABASE_URL: services().postgresUrl }),
    cli(['doctor'], { DATABASE_URL: replica.url }),
    cli(['traces'], { DATABASE_REPLICA_URL: 'postgres://x@127.0.0.1:1/x' }),
  ])
  expect(check(good, 'replica lag')).toMatchObject({ status: 'ok' })
  expect(check(isPrimary, 'replica')).toMatchObject({ status: 'fail', found: 'no replica' })
  expect(check(another, 'replica')).toMatchObject({ status: 'fail', found: 'of another Postgres' })
  expect(check(swapped, 'writable')).toMatchObject({ status: 'fail', found: 'a replica' })
  // No other server is asked in its place, unasked.
  expect(away).toMatchObject({ code: 1, stderr: expect.stringMatching(/ECONNREFUSED/) })
})

test('every question can be asked of a replica; one that stands in the way of a dropped month is broken off, with a word of advice', async () => {
  const [older, newer] = [addMonths(monthOf(Date.now()), -6), addMonths(monthOf(Date.now()), -5)]
  const database = openDatabase(primary.url)
  await ensurePartitions(database, [older, newer])
  const { rows } = await onPrimary.query<{ trace_id: string }>(
    `insert into execution_traces (trace_id, started_at, completed_at, total_duration_ms, skill_name, status, execution_id, error_message)
     select gen_random_uuid(), now(), now(), 5, 'broken', 'failed', 'e-' || i, 'connect refused by host ' || i
       from generate_series(1, 200) i returning trace_id`,
  )
  await rebuildFailures(database)
  // As who writes them through Stepwell says: these minutes are not as they were rolled up.
  await onPrimary.query(
    `insert into execution_rollup_marks (due_at, minutes)
     select now() + interval '1 hour', int4multirange(int4range(minute - 1, minute + 2))
       from (select floor(extract(epoch from now()) / 60)::integer as minute) as now`,
  )
  await caughtUp(replica, primary)
  const id = rows[0]?.trace_id as string
  await using query = new TraceQuery(replica.url)
  expect(await query.queryBySkill('broken', { limit: 5 })).toHaveLength(5)
  expect((await query.findTraces({ status: 'failed', limit: 7 })).traces).toHaveLength(7)
  expect((await query.getTrace(id))?.traceId).toBe(id)
  expect((await query.getSummaries([id])).size).toBe(1)
  expect((await query.getTraceByExecutionId('e-1'))?.traceId).toBe(await query.getTraceId('e-1'))
  expect(await query.findSimilarFailures('connect refused by host 7', 1)).toMatchObject([
    { similarityScore: 1 },
  ])
  expect(await query.listSkills()).toContainEqual(
    expect.objectContaining({ skillName: 'broken', traceCount: 200 }),
  )
  expect((await query.findTraces({ metadata: { env: 'none' }, minDurationMs: 1 })).traces).toEqual([])
  const month = { since: Date.now() - 31 * 86_400_000, skill: 'broken' }
  expect((await query.skillStats({ ...month, bucket: 'day' })).total.traceCount).toBeGreaterThan(0)
  expect((await query.stepStats(month)).total.traceCount).toBeGreaterThan(0)
  expect((await query.explainFailures({ skill: 'broken' })).failing).toMatchObject({ looked: 200, of: 200 })
  expect(await query.listRunning()).toEqual({ running: [], truncated: false })
  expect(await query.findStuck()).toEqual({ stuck: [], truncated: false })
  const whole = query.findWholeTraces({ skill: 'broken' })[Symbol.asyncIterator]()
  expect((await whole.next()).value.skillName).toBe('broken')

  // A lock of the primary holds on the replica too: so the query has the older month in hand when it waits for the newer one.
  const lock = await onPrimary.connect()
  await lock.query(`begin; lock table ${partitionName(newer)} in access exclusive mode`)
  await onPrimary.query('select pg_logical_emit_message(false, $1, $2, true)', ['test', 'flush'])
  await caughtUp(replica, primary)
  const asking = runCli(['traces'], env)
  await waitFor(
    async () =>
      (await onReplica.query("select from pg_stat_activity where wait_event_type = 'Lock'")).rowCount,
    { what: 'the query waits' },
  )
  expect(await dropPartitionsBefore(database, monthBounds(older).toMs)).toMatchObject([{ month: older }])
  expect(await asking).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/conflict with recovery: the replica was asked while .* Ask again/),
  })
  await lock.query('rollback')
  lock.release()
  await caughtUp(replica, primary)
  expect(await runCli(['traces'], env)).toMatchObject({ code: 0 })
  await database.close()
})
