// A write's rows and the marks of the minutes they touch are one transaction, though they go without `begin` and `commit`.
import { newTraceId } from '@stepwell/protocol'
import { isTransient, openDatabase, type TraceDeltas, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

let database: TestDatabase
let pool: pg.Pool

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url, max: 1 })
})
afterAll(async () => {
  await pool.end()
  await database.drop()
})
beforeEach(() => pool.query('truncate execution_traces, execution_rollup_marks'))

function traces(...skills: string[]): TraceDeltas[] {
  const startedAtMs = Date.now()
  return skills.map((k) => {
    const traceId = newTraceId(startedAtMs)
    const delta = { t: traceId, b: 1 as const, k, n: [0, 0] as [number, number] }
    return { traceId, startedAtMs, said: [{ producer: '', delta }], known: false }
  })
}

async function stored(): Promise<unknown> {
  const { rows } = await pool.query(
    'select (select count(*)::int from execution_traces) as traces, (select count(*)::int from execution_rollup_marks) as marks',
  )
  return rows[0]
}

const NOTHING = { traces: 0, marks: 0 }

test.each(['own', 'lent', 'lent, pipelining'])('rows and marks go together: %s', async (kind) => {
  const config = { connectionString: database.url, max: 1 }
  const lent = new pg.Pool({ ...config, pipeline: kind.endsWith('pipelining') })
  const opened = openDatabase(kind === 'own' ? config : lent)
  const writer = new TraceWriter(opened)
  // What is refused comes last in the statement.
  await pool.query("alter table execution_traces add constraint no_bad check (skill_name <> 'bad')")
  await expect(writer.write(traces('good', 'bad'))).rejects.toMatchObject({ code: '23514' })
  await pool.query('alter table execution_traces drop constraint no_bad')
  expect(await stored()).toEqual(NOTHING)
  await pool.query('alter table execution_rollup_marks rename to away')
  await expect(writer.write(traces('good'))).rejects.toMatchObject({ code: '42P01' })
  await pool.query('alter table away rename to execution_rollup_marks')
  expect(await stored()).toEqual(NOTHING)
  // The connection is as good as before: there is no other.
  await writer.write(traces('good', 'good'))
  expect(await stored()).toEqual({ traces: 2, marks: 1 })
  await opened.close()
  await lent.end()
})

test('where all are thought to be new, and some are there, the others go in, and what is there stays', async () => {
  const opened = openDatabase({ connectionString: database.url, max: 1 })
  const [first, second, third] = traces('a', 'b', 'c') as [TraceDeltas, TraceDeltas, TraceDeltas]
  const writer = new TraceWriter(opened)
  await writer.write([second])
  await writer.write([first, second, third])
  await writer.write([first, second, third])
  const { rows } = await pool.query('select skill_name, version from execution_traces order by skill_name')
  expect(rows).toEqual(['a', 'b', 'c'].map((skill_name) => ({ skill_name, version: 1 })))
  const marks = await pool.query('select minutes from execution_rollup_marks')
  expect(marks.rowCount).toBe(3)
  await opened.close()
})

test('a connection that is cut under a write fails it, and not the process', async () => {
  const opened = openDatabase({ connectionString: database.url, max: 1 })
  const writer = new TraceWriter(opened)
  await writer.write(traces('before'))
  const locking = await pool.connect()
  await locking.query('begin; lock table execution_traces in access exclusive mode')
  // The server says so, or the connection does: what it has not read of a message makes it reset.
  const failed = expect(writer.write(traces('during'))).rejects.toSatisfy(isTransient)
  const blocked = `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`
  while ((await locking.query(blocked)).rowCount === 0);
  await failed
  await locking.query('rollback')
  locking.release()
  expect(await stored()).toEqual({ traces: 1, marks: 1 })
  await writer.write(traces('after'))
  await opened.close()
})

test('what a write was sent from is written over when the server has answered, and not after a failure', async () => {
  const memory: unknown[] = []
  class Client extends pg.Client {
    override query(...args: never[]): never {
      const [query] = args as unknown[] as [{ submit?: unknown; values?: Buffer[] }]
      if (query.submit !== undefined) memory.push(query.values?.[0]?.buffer)
      return (super.query as (...args: never[]) => never)(...args)
    }
  }
  const opened = openDatabase({ connectionString: database.url, max: 1, Client } as pg.PoolConfig)
  const writer = new TraceWriter(opened)
  for (const skill of ['first', 'second']) await writer.write(traces(skill))
  await pool.query("alter table execution_traces add constraint no_bad check (skill_name <> 'bad')")
  await expect(writer.write(traces('bad'))).rejects.toMatchObject({ code: '23514' })
  await pool.query('alter table execution_traces drop constraint no_bad')
  await writer.write(traces('third'))
  const [first, second, failed, third] = memory
  expect(second).toBe(first)
  expect(failed).toBe(first)
  expect(third).not.toBe(failed)
  await opened.close()
})
