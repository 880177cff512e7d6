import { ExecutionTracer } from '@stepwell/client'
import { addMonths, monthOf, partitionName } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { listPartitions, migrateToLatest, openDatabase, TraceStorage } from '@stepwell/storage'
import { spawnProcess, transactionPooler, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker } from '@stepwell/worker'
import pg from 'pg'
import { expect, test } from 'vitest'
import { fillMonth } from '../packages/storage/test/month-of-traces.ts'

// Between all of Stepwell and Postgres stands a pooler that gives each transaction another connection (PgBouncer, pool_mode = transaction).
const CONNECTIONS = 4
const SCHEMA = 'traced'

test('through a transaction pooler everything works, and its connections are left as they were', async () => {
  const [redisUrl, database] = await Promise.all([redisForFile(), createDatabase({ empty: true })])
  await using pooler = await transactionPooler(database.url, CONNECTIONS)
  const { url } = pooler
  const place = { connectionString: url, schema: SCHEMA }
  const before = await sessions(url)
  const stepwell = async (...args: string[]): Promise<string> => {
    const environment = { REDIS_URL: redisUrl, DATABASE_URL: url, STEPWELL_SCHEMA: SCHEMA }
    await using cli = spawnProcess(new URL('../apps/cli/src/main.ts', import.meta.url), args, environment)
    expect(await cli.exited, `${args}: ${cli.stderr()}`).toMatchObject({ code: 0 })
    return cli.stdout()
  }

  // Two at once: one waits for the other.
  await Promise.all([migrateToLatest(place), migrateToLatest(place)])
  {
    await using _worker = await createWorker({
      redis: redisUrl,
      database: url,
      schema: SCHEMA,
      checkpointMs: 200,
    })
    await using query = new TraceQuery(url, { schema: SCHEMA })
    await using storage = new TraceStorage(url, { schema: SCHEMA })
    const tracer = new ExecutionTracer({ redis: redisUrl })
    await tracer.trace('build', { executionId: 'well' }, (t) => t.step('work', () => {}))
    await tracer.trace('build', () => Promise.reject(new Error('no such host'))).catch(() => {})
    const open = tracer.startTrace('open')
    await tracer.flush()
    await waitFor(async () => (await query.findTraces()).traces.length === 3, { what: 'all are stored' })
    expect(await query.getTraceByExecutionId('well')).toMatchObject({ skillName: 'build', stepCount: 1 })
    expect(await query.findSimilarFailures('no such host')).toHaveLength(1)
    expect((await query.listFailureGroups()).groups).toHaveLength(1)
    expect(await storage.getTrace(open)).toMatchObject({ status: 'running' })
    for (const command of ['traces', 'skills', 'stats', 'failures', 'doctor']) await stepwell(command)
    await tracer.close()
  }

  // A month that goes, and one of which some go.
  const now = monthOf(Date.now())
  const [older, old] = [addMonths(now, -5), addMonths(now, -2)]
  const filled = openDatabase(url, SCHEMA)
  await fillMonth(filled, older, { count: 20, skills: ['build'], statuses: ['success'] })
  await fillMonth(filled, old, { count: 20, skills: ['build'], statuses: ['success', 'failed'] })
  await stepwell('retention', 'apply', '--keep', 'success=7d')
  const [first] = await listPartitions(filled)
  expect(first).toEqual(old)
  expect((await filled.pool.query(`select 1 from ${SCHEMA}.${partitionName(old)}`)).rowCount).toBe(10)

  // Indexes that months lack: each is made once.
  await filled.pool.query(`drop index ${SCHEMA}.execution_traces_failures_newest;
    create index execution_traces_failures_newest on only ${SCHEMA}.execution_traces (started_at desc, trace_id desc) where status = 'failed'`)
  const reports = await Promise.all([migrateToLatest(place), migrateToLatest(place)])
  expect(reports.flatMap(({ indexes }) => indexes)).toHaveLength((await listPartitions(filled)).length)
  await filled.close()

  expect(await sessions(url)).toEqual(before)
  await database.drop()
})

/** What is set in each of the pooler's connections, but for what poolers keep track of, and what it keeps locked. */
async function sessions(url: string): Promise<unknown[]> {
  const clients = Array.from({ length: CONNECTIONS }, () => new pg.Client(url))
  await Promise.all(clients.map((client) => client.connect()))
  // Transactions at once: each has a connection of its own.
  await Promise.all(clients.map((client) => client.query('begin')))
  const found = await Promise.all(
    clients.map((client) =>
      client.query(`select (select json_object_agg(name, setting) from pg_settings where source = 'session' and name <> 'DateStyle') as set,
        (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks`),
    ),
  )
  await Promise.all(clients.map((client) => client.query('commit')))
  await Promise.all(clients.map((client) => client.end()))
  return found.map(({ rows }) => rows[0])
}
