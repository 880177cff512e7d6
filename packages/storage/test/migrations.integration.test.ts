import { readdirSync } from 'node:fs'
import { addMonths, type Month, monthOf, newTraceId, partitionName } from '@stepwell/protocol'
import {
  dropPartitionsBefore,
  ensurePartitions,
  isTransient,
  listPartitions,
  MONTHS_AHEAD,
  migrateToLatest,
  openDatabase,
  SchemaTooNewError,
  TraceStorage,
} from '@stepwell/storage'
import { createDatabase } from '@stepwell/testkit/vitest'
import { expect, test } from 'vitest'

test('migrations started by four at once run once; a second time there is nothing to do', async () => {
  const database = await createDatabase({ empty: true })
  const reports = await Promise.all(
    Array.from({ length: 4 }, () => migrateToLatest({ connectionString: database.url })),
  )
  const files = readdirSync(new URL('../../../migrations', import.meta.url))
  expect(reports.flatMap((report) => report.applied)).toEqual(files.map((file) => file.slice(0, -3)).sort())
  expect((await migrateToLatest({ connectionString: database.url })).applied).toEqual([])
  const opened = openDatabase(database.url)
  const { rows } = await opened.pool.query(
    `select distinct reloptions from pg_class where relname ~ '^execution_traces_[0-9]+_[0-9]+$'`,
  )
  expect(rows).toEqual([
    { reloptions: ['autovacuum_vacuum_insert_scale_factor=0', 'autovacuum_vacuum_insert_threshold=50000'] },
  ])
  expect((await listPartitions(opened)).map(partitionName)).toEqual(
    Array.from({ length: MONTHS_AHEAD + 1 }, (_, i) => partitionName(addMonths(monthOf(Date.now()), i))),
  )
  await opened.close()
  await database.drop()
})

test('a schema of its own: tables, partitions, migrations and traces lie there', async () => {
  const database = await createDatabase({ empty: true })
  await Promise.all(
    Array.from({ length: 3 }, () => migrateToLatest({ connectionString: database.url, schema: 'tracing' })),
  )
  const opened = openDatabase(database.url)
  const { rows } = await opened.pool.query(
    `select distinct schemaname from pg_tables where tablename ~ '^(execution|failure|stepwell)'`,
  )
  expect(rows).toEqual([{ schemaname: 'tracing' }])
  const storage = new TraceStorage(database.url, { schema: 'tracing' })
  const trace = {
    traceId: '6f1c2d3e-0000-4000-8000-0123456789ab',
    skillName: 'placed',
    startedAt: new Date('2021-05-05T00:00:00Z'),
  }
  await storage.finalizeTrace(trace, 'success')
  expect((await storage.getTrace(trace.traceId))?.skillName).toBe('placed')
  await storage.close()
  // A lent pool's own statements go on looking where they did.
  const lent = new TraceStorage(opened.pool, { schema: 'tracing' })
  expect((await lent.getTrace(trace.traceId))?.skillName).toBe('placed')
  expect((await opened.pool.query('show search_path')).rows[0].search_path).not.toMatch(/^public, tracing/)
  await lent.close()
  await opened.close()
  await database.drop()
})

test('a database of a newer Stepwell is refused with a sentence that says what to do', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  await opened.pool.query(
    `insert into stepwell_migrations (name, timestamp) values ('9999_from_the_future', now())`,
  )
  const error = await migrateToLatest({ connectionString: database.url }).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(SchemaTooNewError)
  expect(error).toMatchObject({
    code: 'SCHEMA_TOO_NEW',
    message: expect.stringMatching(/9999_from_the_future.*upgrade this program/),
  })
  await opened.close()
  await database.drop()
})

test('a database in another encoding than UTF8 is refused: what it cannot hold would be stuck', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  const url = new URL(database.url)
  url.pathname += '_latin1'
  const name = url.pathname.slice(1)
  await opened.pool.query(`create database ${name} encoding 'LATIN1' locale 'C' template template0`)
  await expect(migrateToLatest({ connectionString: url.href })).rejects.toMatchObject({
    code: 'INVALID_INPUT',
    message: expect.stringContaining('The database is in LATIN1'),
  })
  await opened.pool.query(`drop database ${name} with (force)`)
  await opened.close()
  await database.drop()
})

test('a role that may not make tables is told so', async () => {
  const database = await createDatabase({ empty: true })
  const opened = openDatabase(database.url)
  const url = new URL(database.url)
  // Roles are the whole server's.
  url.username = `nobody_of_${url.pathname.slice(1)}`
  await opened.pool.query(`create role ${url.username} login`)
  await expect(migrateToLatest({ connectionString: url.href })).rejects.toMatchObject({
    code: '42501',
    message: 'permission denied for schema public',
  })
  await opened.pool.query(`drop role ${url.username}`)
  await opened.close()
  await database.drop()
})

test('partitions: made by many at once, once; while a reader holds the table; dropped by month, and made again on demand', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  const months = [
    { year: 2019, month: 12 },
    { year: 2020, month: 1 },
  ]
  const reader = await opened.pool.connect()
  await reader.query('begin; select count(*) from execution_traces')
  const made = await Promise.all(Array.from({ length: 6 }, () => ensurePartitions(opened, months)))
  expect(made.flat().sort()).toEqual(['execution_traces_2019_12', 'execution_traces_2020_01'])
  await reader.query('commit')
  reader.release()
  const storage = new TraceStorage(opened.pool)
  const lastOfYear = {
    traceId: '6f1c2d3e-0000-4000-8000-0123456789ab',
    skillName: 'old',
    startedAt: new Date('2019-12-31T23:59:59.999Z'),
  }
  await storage.finalizeTrace(lastOfYear, 'success')
  const { rows } = await opened.pool.query('select tableoid::regclass::text p from execution_traces')
  expect(rows).toEqual([{ p: 'execution_traces_2019_12' }])
  const [dropped] = await dropPartitionsBefore(opened, Date.UTC(2020, 0, 1))
  expect(dropped).toMatchObject({ month: { year: 2019, month: 12 }, bytes: expect.any(Number) })
  expect(await dropPartitionsBefore(opened, Date.UTC(2020, 0, 1))).toEqual([])
  expect(await storage.getTrace(lastOfYear.traceId)).toBeUndefined()
  // Its writer believed the month to be there.
  await storage.finalizeTrace(lastOfYear, 'failed').catch(() => storage.finalizeTrace(lastOfYear, 'failed'))
  expect((await storage.getTrace(lastOfYear.traceId))?.status).toBe('failed')
  await opened.close()
  await database.drop()
})

test('a month whose readers do not end is given up for now, other months are made meanwhile, and the next call ends it', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  const [old, other] = [2018, 2017].map((year) => ({ year, month: 5 }))
  await ensurePartitions(opened, [old as Month])
  const reader = await opened.pool.connect()
  await reader.query('begin; select count(*) from execution_traces')
  const drop = async (): Promise<Month[]> =>
    (await dropPartitionsBefore(opened, Date.UTC(2018, 5, 1), { timeoutMs: 200 })).map(({ month }) => month)
  for (let attempt = 0; attempt < 2; attempt++) {
    const error = await drop().catch((e: unknown) => e)
    expect(isTransient(error), String(error)).toBe(true)
  }
  expect(await ensurePartitions(opened, [other as Month])).toEqual(['execution_traces_2017_05'])
  await expect(ensurePartitions(opened, [old as Month])).rejects.toSatisfy(isTransient)
  await reader.query('commit')
  reader.release()
  expect(await drop()).toEqual([old, other])
  const { rows } = await opened.pool.query('show statement_timeout')
  expect(rows).toEqual([{ statement_timeout: '0' }])
  await opened.close()
  await database.drop()
})

test('an index that another has replaced is dropped when that is there, and later where somebody reads meanwhile', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  const replaced = async (): Promise<string | null> =>
    (await opened.pool.query(`select to_regclass('execution_traces_started')::text as name`)).rows[0].name
  expect(await replaced()).toBeNull()
  await opened.pool.query(
    'create index execution_traces_started on execution_traces (started_at desc, trace_id desc)',
  )
  const reader = await opened.pool.connect()
  await reader.query('begin; select count(*) from execution_traces')
  await migrateToLatest({ connectionString: database.url })
  expect(await replaced()).toBe('execution_traces_started')
  await reader.query('commit')
  reader.release()
  await migrateToLatest({ connectionString: { connectionString: database.url, max: 1 } })
  expect(await replaced()).toBeNull()
  await opened.close()
  await database.drop()
})

test('indexes that are only declared are made for months with traces in them, by one of several, after a stop too, while others write', async () => {
  const database = await createDatabase()
  const opened = openDatabase(database.url)
  const { pool } = opened
  const month = partitionName(monthOf(Date.now()))
  await using storage = new TraceStorage(pool)
  const store = (): Promise<unknown> =>
    storage.finalizeTrace(
      { traceId: newTraceId(Date.now()), skillName: 'indexed', startedAt: new Date() },
      'failed',
    )
  await store()
  const declare = (name: string, rest: string): Promise<unknown> =>
    pool.query(`drop index ${name}; create index ${name} on only execution_traces ${rest}`)
  const valid = async (): Promise<unknown> =>
    (
      await pool.query(
        `select count(*) filter (where not indisvalid)::integer as invalid, count(*)::integer as indexes from pg_index
          where indrelid::regclass::text ~ '^execution_traces'`,
      )
    ).rows[0]
  const whole = await valid()
  await declare(
    'execution_traces_failures_newest',
    `(started_at desc, trace_id desc) where status = 'failed'`,
  )
  await declare(
    'execution_traces_failed_step',
    '(failed_step, started_at desc) where failed_step is not null',
  )
  // As one leaves it that was stopped.
  await pool.query(`create index ${month}_failures_newest on ${month} (started_at desc, trace_id desc) where status = 'failed';
    update pg_index set indisvalid = false where indexrelid = '${month}_failures_newest'::regclass`)
  await expect(
    migrateToLatest({ connectionString: { connectionString: database.url, max: 1 } }),
  ).rejects.toThrow('at least two connections')
  const reports = Promise.all(
    Array.from({ length: 3 }, () => migrateToLatest({ connectionString: database.url })),
  )
  for (let i = 0; i < 20; i++) await store()
  const made = (await reports).flatMap(({ indexes }) => indexes)
  expect(made.length).toBe(2 * (MONTHS_AHEAD + 1))
  expect(new Set(made).size).toBe(made.length)
  expect(await valid()).toEqual(whole)
  expect((await migrateToLatest({ connectionString: database.url })).indexes).toEqual([])
  await opened.close()
  await database.drop()
})
