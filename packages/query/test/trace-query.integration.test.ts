import { newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { HOUR, now, type Stored, store as storeIn } from './stored-traces.ts'

let database: TestDatabase
let pool: pg.Pool
let storage: TraceStorage
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  storage = new TraceStorage(pool)
  query = new TraceQuery(pool)
})
beforeEach(() => pool.query('truncate execution_traces'))
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

const store = (trace: Stored): Promise<string> => storeIn(storage, trace)

describe('queryBySkill', () => {
  test('summaries of the last 30 days, newest first, 100 at most', async () => {
    for (let i = 0; i < 105; i++) await store({ at: now - i * HOUR })
    await store({ at: now - 31 * 24 * HOUR })
    await store({ skill: 'other' })
    const traces = await query.queryBySkill('skill')
    expect(traces).toHaveLength(100)
    expect(traces.map((t) => t.startedAt.getTime())).toEqual(
      Array.from({ length: 100 }, (_, i) => now - i * HOUR),
    )
    expect(traces[0]).toEqual({
      traceId: expect.any(String),
      skillName: 'skill',
      status: 'success',
      startedAt: new Date(now),
      completedAt: new Date(now + 5),
      totalDurationMs: 5,
      stepCount: 0,
      missingSteps: 0,
      metadata: {},
    })
  })

  test('a window and a limit, as options or in place; both ends belong to it', async () => {
    for (let i = 0; i < 10; i++) await store({ at: now - i * HOUR })
    const options = { startDate: new Date(now - 5 * HOUR), endDate: new Date(now - 2 * HOUR), limit: 3 }
    const traces = await query.queryBySkill('skill', options)
    expect(traces.map((t) => (now - t.startedAt.getTime()) / HOUR)).toEqual([2, 3, 4])
    expect(await query.queryBySkill('skill', options.startDate, options.endDate, 3)).toEqual(traces)
    expect(
      await query.queryBySkill('skill', {
        ...options,
        startDate: options.startDate.toISOString(),
        limit: 100,
      }),
    ).toHaveLength(4)
    expect(await query.queryBySkill('nobody')).toEqual([])
  })

  test.each([
    [['skill', { limit: 0 }], /limit must be a whole number from 1 to 1000/],
    [['skill', { limit: 1.5 }], /limit/],
    [['skill', { startDate: new Date(Number.NaN) }], /startDate must be/],
    [['skill', { startDate: 'yesterday' }], /startDate must be a valid date/],
    [['skill', { startDate: now, endDate: now - 1 }], /startDate must not be after endDate/],
    [['skill', { from: now }], /does not know 'from'/],
    [[17], /skillName must be text/],
    [['a\0b'], /skillName must not contain a NUL/],
  ])('%o is refused', async (input, message) => {
    await expect(query.queryBySkill(...(input as [string]))).rejects.toThrow(message)
    await expect(query.queryBySkill(...(input as [string]))).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  })
})

describe('findSimilarFailures', () => {
  test('failed traces with their similarity, most similar first, then newest; 0.3 belongs', async () => {
    await store({
      status: 'failed',
      error: 'Connection TIMEOUT redis',
      at: now - 3 * HOUR,
      executionId: 'exec',
    })
    await store({ status: 'failed', error: 'connection timeout redis', at: now - 2 * HOUR })
    await store({ status: 'failed', error: 'connection timeout postgres', at: now })
    await store({ status: 'failed', error: 'connection timeout redis d e f g h i j', at: now })
    await store({ status: 'failed', error: 'connection a b c d e f g h i', at: now })
    await store({ status: 'success', error: 'connection timeout redis', at: now })
    await store({ status: 'failed', at: now })
    const similar = await query.findSimilarFailures('connection timeout redis')
    expect(similar.map((s) => [s.similarityScore, s.errorMessage])).toEqual([
      [1, 'connection timeout redis'],
      [1, 'Connection TIMEOUT redis'],
      [0.5, 'connection timeout postgres'],
      [0.3, 'connection timeout redis d e f g h i j'],
    ])
    expect(similar[1]).toEqual({
      traceId: expect.any(String),
      similarityScore: 1,
      errorMessage: 'Connection TIMEOUT redis',
      skillName: 'skill',
      startedAt: new Date(now - 3 * HOUR),
      executionId: 'exec',
      groupId: expect.stringMatching(/^[0-9a-f]{16}$/),
      notes: [],
    })
    expect(await query.findSimilarFailures('connection timeout redis', 2)).toEqual(similar.slice(0, 2))
    expect(
      await query.findSimilarFailures('connection timeout redis', {
        threshold: 0.5,
        since: now - 2.5 * HOUR,
        until: now,
      }),
    ).toEqual([similar[0], similar[2]])
    expect(await query.findSimilarFailures('connection timeout redis', { skill: 'other' })).toEqual([])
    expect(await query.findSimilarFailures('   ')).toEqual([])
  })

  test.each([[{ limit: -1 }], [{ threshold: 2 }], [{ since: 'x' }], [0], ['all']])(
    '%o is refused',
    async (options) => {
      await expect(query.findSimilarFailures('x', options as never)).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      })
    },
  )
})

describe('getTrace', () => {
  test('the whole trace, or undefined; upper case is fine; other ids are looked for in all months', async () => {
    const id = await store({ steps: ['a', 'b'], metadata: { env: 'prod' } })
    expect(await query.getTrace(id.toUpperCase())).toMatchObject({
      traceId: id,
      stepCount: 2,
      steps: [
        { id: 1, name: 'a' },
        { id: 2, name: 'b' },
      ],
    })
    expect(await query.getTrace(newTraceId(now))).toBeUndefined()
    const foreign = await store({ traceId: '6f1c2d3e-0000-4000-8000-0123456789ab', at: Date.UTC(2023, 1, 1) })
    expect((await query.getTrace(foreign))?.startedAt).toEqual(new Date(Date.UTC(2023, 1, 1)))
    await expect(query.getTrace('x')).rejects.toThrow('traceId must be a trace id: a UUID')
  })

  test('by execution id: the newest', async () => {
    await store({ executionId: 'exec', at: now - HOUR })
    const newest = await store({ executionId: 'exec', at: now, steps: ['a'] })
    expect(await query.getTraceByExecutionId('exec')).toMatchObject({
      traceId: newest,
      steps: [{ name: 'a' }],
    })
    expect(await query.getTraceId('exec')).toBe(newest)
    expect(await query.getTraceByExecutionId('nobody')).toBeUndefined()
    expect(await query.getTraceId('nobody')).toBeUndefined()
  })
})

test('listSkills: what each came to, most runs first', async () => {
  for (const status of ['success', 'failed', 'timeout'] as const)
    await store({ skill: 'a', status, at: now - HOUR })
  await store({ skill: 'b', at: now })
  expect(await query.listSkills()).toEqual([
    {
      skillName: 'a',
      traceCount: 3,
      successCount: 1,
      failedCount: 1,
      timeoutCount: 1,
      runningCount: 0,
      p50DurationMs: 5,
      p95DurationMs: 5,
      lastStartedAt: new Date(now - HOUR),
    },
    {
      skillName: 'b',
      traceCount: 1,
      successCount: 1,
      failedCount: 0,
      timeoutCount: 0,
      runningCount: 0,
      p50DurationMs: 5,
      p95DurationMs: 5,
      lastStartedAt: new Date(now),
    },
  ])
  expect(await query.listSkills({ since: now - 1, limit: 1 })).toMatchObject([{ skillName: 'b' }])
  await expect(query.listSkills({ limit: 0 })).rejects.toThrow(/limit/)
})

test('nothing that is passed becomes SQL', async () => {
  await store({ skill: 'kept' })
  const hostile = `'; drop table execution_traces; --`
  await query.queryBySkill(hostile)
  await query.findSimilarFailures(hostile, { skill: hostile })
  await query.getTraceByExecutionId(hostile)
  await query.findTraces({
    skill: hostile,
    stepName: hostile,
    executionId: hostile,
    metadata: { [hostile]: hostile },
  })
  await expect(query.getTrace(hostile)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  expect(() => new TraceQuery(pool, { schema: hostile })).toThrow(/schema name/)
  expect(await query.queryBySkill('kept')).toHaveLength(1)
})

test('the database as a connection string, as options, as a Pool; close is idempotent, a lent pool stays open', async () => {
  await store({ skill: 'kept' })
  const url = new URL(database.url)
  const options = {
    host: url.hostname,
    port: Number(url.port),
    database: url.pathname.slice(1),
    user: url.username,
    password: url.password,
  }
  for (const config of [database.url, { connectionString: database.url }, options, pool]) {
    const one = new TraceQuery(config)
    expect(await one.queryBySkill('kept')).toHaveLength(1)
    await one.close()
    await one.close()
  }
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  expect(() => new TraceQuery(undefined as never)).toThrow(/connection string/)
  expect(() => new TraceQuery('localhost')).toThrow(/connection string/)
  await using nowhere = new TraceQuery({ host: '127.0.0.1', port: 1, user: 'x' })
  await expect(nowhere.queryBySkill('kept')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})
