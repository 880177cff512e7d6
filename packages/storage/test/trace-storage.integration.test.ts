import { InvalidInputError, InvalidStatusError, newTraceId } from '@stepwell/protocol'
import { openDatabase, TraceStorage } from '@stepwell/storage'
import { type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'

let database: TestDatabase
let pool: pg.Pool
let storage: TraceStorage

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  storage = new TraceStorage(pool)
})
afterAll(async () => {
  await storage.close()
  await pool.end()
  await database.drop()
})

const startedAt = new Date('2026-10-01T12:00:00.000Z')
const newTrace = () => ({
  traceId: newTraceId(startedAt.getTime()),
  skillName: 'docker-build',
  executionId: 'exec-123',
  startedAt,
  completedAt: new Date(startedAt.getTime() + 300),
  totalDurationMs: 299.5,
  metadata: { env: 'prod', odd: '\u0000 \ud800' },
  steps: [
    { name: 'load', timestamp: startedAt, durationMs: 100, status: 'success' as const },
    {
      name: 'build',
      durationMs: 200,
      status: 'failed' as const,
      errorMessage: 'connection timeout redis',
      attributes: { n: 1 },
    },
    { name: 'push', timestamp: startedAt, status: 'running' as const },
  ],
})

test('finalizeTrace stores and returns id, duration and status; getTrace gives the trace back', async () => {
  const trace = newTrace()
  expect(await storage.finalizeTrace(trace, 'failed')).toEqual({
    traceId: trace.traceId,
    totalDurationMs: 299.5,
    status: 'failed',
  })
  expect(await storage.getTrace(trace.traceId.toUpperCase())).toEqual({
    traceId: trace.traceId,
    skillName: 'docker-build',
    executionId: 'exec-123',
    status: 'failed',
    startedAt,
    completedAt: trace.completedAt,
    totalDurationMs: 299.5,
    stepCount: 3,
    missingSteps: 0,
    errorMessage: 'connection timeout redis',
    metadata: { env: 'prod', odd: '\ufffd \ufffd' },
    steps: [
      { id: 1, name: 'load', timestamp: startedAt, durationMs: 100, status: 'success' },
      {
        id: 2,
        name: 'build',
        durationMs: 200,
        status: 'failed',
        errorMessage: 'connection timeout redis',
        attributes: { n: 1 },
      },
      { id: 3, name: 'push', timestamp: startedAt, status: 'running' },
    ],
  })
})

test.each(['success', 'failed', 'timeout'] as const)(
  '%s is a final status; storing it again changes nothing',
  async (status) => {
    const trace = newTrace()
    await storage.finalizeTrace(trace, status)
    await storage.finalizeTrace(trace, status)
    const { rows } = await pool.query('select status, version from execution_traces where trace_id = $1', [
      trace.traceId,
    ])
    expect(rows).toEqual([{ status, version: 1 }])
  },
)

test('without an end of its own the trace ends now, and lasts from its start', async () => {
  const start = Date.now() - 1000
  const { totalDurationMs } = await storage.finalizeTrace(
    { traceId: newTraceId(start), skillName: 'now', startedAt: new Date(start) },
    'success',
  )
  expect(totalDurationMs).toBeGreaterThanOrEqual(1000)
  expect(totalDurationMs).toBeLessThan(10_000)
})

test('wrong input is refused with a clear error, and nothing is stored', async () => {
  const trace = newTrace()
  await expect(storage.finalizeTrace(trace, 'running' as never)).rejects.toThrow(InvalidStatusError)
  await expect(storage.finalizeTrace(trace, 'done' as never)).rejects.toThrow(
    "Invalid status 'done': use one of success, failed, timeout",
  )
  await expect(storage.finalizeTrace(undefined as never, 'success')).rejects.toThrow(InvalidInputError)
  await expect(storage.finalizeTrace({ ...trace, traceId: 'x' }, 'success')).rejects.toThrow(/is no trace id/)
  await expect(
    storage.finalizeTrace(
      { ...trace, steps: [{ name: 'a', status: 'odd' as never, durationMs: 1 }] },
      'success',
    ),
  ).rejects.toThrow(InvalidStatusError)
  await expect(storage.finalizeTrace({ ...trace, totalDurationMs: -1 }, 'success')).rejects.toThrow(
    /cannot be stored: e/,
  )
  await expect(storage.getTrace("'; drop table execution_traces; --")).rejects.toThrow(InvalidInputError)
  expect(await storage.getTrace(trace.traceId)).toBeUndefined()
  expect(() => new TraceStorage(17 as never)).toThrow(InvalidInputError)
  expect(() => new TraceStorage(pool, { schema: 'a; b' })).toThrow(InvalidInputError)
})

test('a lent pool stays open; own connections are closed, twice is fine', async () => {
  await storage.close()
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  const url = new URL(database.url)
  const own = new TraceStorage({
    host: url.hostname,
    port: Number(url.port),
    database: url.pathname.slice(1),
    user: url.username,
    password: url.password,
  })
  const trace = newTrace()
  await own.finalizeTrace(trace, 'success')
  await own.close()
  await own.close()
  await expect(own.getTrace(trace.traceId)).rejects.toThrow()
})

test('a database that is not there surfaces as the error of its driver', async () => {
  await using nowhere = new TraceStorage({ host: '127.0.0.1', port: 1, user: 'nobody', database: 'none' })
  await expect(nowhere.finalizeTrace(newTrace(), 'success')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})

test('the views spell steps out: one row a step, and the specified array of objects', async () => {
  const trace = newTrace()
  await storage.finalizeTrace(trace, 'failed')
  const { rows } = await pool.query(
    'select name, "timestamp", duration_ms, status, error_message, attributes from trace_steps where trace_id = $1 order by position',
    [trace.traceId],
  )
  expect(rows).toEqual([
    {
      name: 'load',
      timestamp: startedAt,
      duration_ms: 100,
      status: 'success',
      error_message: null,
      attributes: null,
    },
    {
      name: 'build',
      timestamp: null,
      duration_ms: 200,
      status: 'failed',
      error_message: 'connection timeout redis',
      attributes: { n: 1 },
    },
    {
      name: 'push',
      timestamp: startedAt,
      duration_ms: null,
      status: 'running',
      error_message: null,
      attributes: null,
    },
  ])
  const { rows: traces } = await pool.query('select steps from traces where trace_id = $1', [trace.traceId])
  expect(traces[0].steps).toMatchObject([
    { name: 'load', duration_ms: 100, status: 'success' },
    { name: 'build', attributes: { n: 1 } },
    { name: 'push', status: 'running' },
  ])
})

test.each(['own', 'lent'])(
  'a connection of an %s pool that breaks while in use fails its query, not the process',
  async (kind) => {
    const lent = new pg.Pool({ connectionString: database.url })
    const opened = openDatabase(kind === 'own' ? database.url : lent)
    const broken = opened.db.transaction().execute(async (trx) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx)
      await pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
      await waitFor(
        async () =>
          (await pool.query('select from pg_stat_activity where pid = $1', [rows[0]?.pid])).rowCount === 0,
        {
          what: 'the server has cut it',
        },
      )
      await sql`select 1`.execute(trx)
    })
    await expect(broken).rejects.toThrow()
    await opened.close()
    await lent.end()
  },
)

test('secrets are taken out before they are stored, unless that is switched off', async () => {
  const secret = { metadata: { password: 'hunter2' }, errorMessage: 'redis://:hunter2@h is away' }
  const step = { name: 'x', durationMs: 1, status: 'failed' as const, errorMessage: 'token=hunter2' }
  const store = async (target: TraceStorage): Promise<string> => {
    const trace = { ...newTrace(), ...secret, steps: [{ ...step, attributes: { apiKey: 'hunter2' } }] }
    await target.finalizeTrace(trace, 'failed')
    return JSON.stringify(await target.getTrace(trace.traceId))
  }
  await using own = new TraceStorage(database.url)
  await using open = new TraceStorage(database.url, { redact: false })
  expect(await store(own)).not.toContain('hunter2')
  expect((await store(open)).split('hunter2')).toHaveLength(5)
  expect(() => new TraceStorage(database.url, { redact: 7 as never })).toThrow(/redact/)
})
