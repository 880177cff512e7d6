// What lies at the edges of the questions: times that no calendar of Postgres has, characters it cannot hold, names over their
// limit, pools that are somebody else's, lists that nobody waits for.
import { assemble, type Delta, newTraceId, traceIdStart } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { migrateToLatest, openDatabase, type TraceDeltas, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

let database: TestDatabase
let pool: pg.Pool
let writer: TraceWriter
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  writer = new TraceWriter(openDatabase(pool))
  query = new TraceQuery(database.url)
})
beforeEach(() => pool.query('truncate execution_traces'))
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

const now = Date.now()
const HOUR = 3_600_000

/** Writes deltas, each of a trace of its own, as a worker does. */
async function write(deltas: (Partial<Delta> & { startMs?: number })[]): Promise<string[]> {
  const traces = deltas.map(({ startMs = now - HOUR, ...delta }): TraceDeltas => {
    const traceId = delta.t ?? newTraceId(startMs)
    const said = [{ producer: '', delta: { t: traceId, n: [0, 0], ...delta } as Delta }]
    return { traceId, startedAtMs: traceIdStart(traceId) ?? startMs, said, known: false }
  })
  for (let i = 0; i < traces.length; i += 1_000) await writer.write(traces.slice(i, i + 1_000))
  return traces.map(({ traceId }) => traceId)
}

describe('times', () => {
  const [first, last] = [new Date(-8.64e15), new Date(8.64e15)]

  test('that Postgres does not know find what lies between them', async () => {
    const [id] = await write([{ k: 'build', e: ['f', 5, 5, 'no redis'] }])
    expect(await query.queryBySkill('build', first, last)).toMatchObject([{ traceId: id }])
    expect((await query.findTraces({ since: first, until: last })).traces).toMatchObject([{ traceId: id }])
    expect(await query.findSimilarFailures('no redis', { since: first, until: last })).toHaveLength(1)
    expect(await query.listSkills({ since: first, until: last })).toHaveLength(1)
    expect(await query.queryBySkill('build', first, first)).toEqual([])
    expect((await query.findTraces({ until: first })).traces).toEqual([])
  })

  test('in the wrong order are refused everywhere', async () => {
    const window = { since: now, until: now - 1 }
    await expect(query.findTraces(window)).rejects.toThrow('since must not be after until')
    await expect(query.findSimilarFailures('x', window)).rejects.toThrow('since must not be after until')
    await expect(query.listSkills(window)).rejects.toThrow('since must not be after until')
  })

  test('the default begin of an old window is 30 days before its end', async () => {
    const startMs = now - 50 * 24 * HOUR
    await write([{ k: 'build', startMs }])
    expect(await query.queryBySkill('build')).toEqual([])
    expect(await query.queryBySkill('build', { endDate: startMs + HOUR })).toHaveLength(1)
  })

  test('an id of a time that never comes is not found', async () => {
    expect(await query.getTrace('ffffffff-ffff-7fff-bfff-ffffffffffff')).toBeUndefined()
  })

  test('finer than a millisecond page as they stand in the table', async () => {
    await pool.query(`insert into execution_traces (trace_id, started_at, skill_name)
      select gen_random_uuid(), date_trunc('month', now(), 'UTC') + (i / 3) * interval '1 microsecond', 'x' from generate_series(1, 30) i`)
    const all = (await query.findTraces()).traces.map((t) => t.traceId)
    const paged: string[] = []
    for await (const { traceId } of query.findTraces({ limit: 4 })) paged.push(traceId)
    expect(paged).toEqual(all)
    expect(new Set(paged).size).toBe(30)
  })
})

describe('characters', () => {
  test('halves of pairs and texts that look like NUL are looked for as they are stored', async () => {
    const metadata = { text: 'a\uFFFDb', '\\u0000': 'c\\u0000' }
    await write([{ k: 'a\uFFFD', m: metadata, r: 1 }])
    expect((await query.findTraces({ skill: 'a\ud800' })).traces).toHaveLength(1)
    expect((await query.findTraces({ metadata: { text: 'a\udc00b' } })).traces).toHaveLength(1)
    expect((await query.findTraces({ metadata: { '\\u0000': 'c\\u0000' } })).traces).toHaveLength(1)
    await expect(query.findTraces({ metadata: { 'a\0': 1 } })).rejects.toThrow('must not contain a NUL')
    await expect(query.findTraces({ metadata: { a: ['\\\0'] } })).rejects.toThrow('must not contain a NUL')
  })

  test('a name over its limit finds what was recorded under it, cut', async () => {
    const long = 'x'.repeat(300)
    const cut = `${'x'.repeat(254)}…`
    const [id] = await write([{ k: cut, x: cut, s: [[1, cut, 0, 1]], n: [1, 1] }])
    expect(await query.queryBySkill(long)).toHaveLength(1)
    expect(await query.getTraceId(long)).toBe(id)
    expect((await query.findTraces({ skill: long, stepName: long, executionId: long })).traces).toHaveLength(
      1,
    )
  })

  test('of cursors that somebody made up never reach Postgres', async () => {
    const { nextCursor } = await write([{ k: 'a' }, { k: 'a' }]).then(() => query.findTraces({ limit: 1 }))
    const [version, print, , traceId] = JSON.parse(Buffer.from(nextCursor as string, 'base64url').toString())
    for (const startedUs of ['-999999999999999999', '999999999999999999', '1e5', "'", '', 5]) {
      const cursor = Buffer.from(JSON.stringify([version, print, startedUs, traceId])).toString('base64url')
      await expect(query.findTraces({ cursor })).rejects.toThrow('cursor must be')
    }
  })
})

describe('filters', () => {
  test('a trace without its beginning has the skill "", belongs to no skill and is found', async () => {
    await write([{ s: [[1, 'a', 0, 1]], n: [1, 1] }, { k: 'build' }])
    expect((await query.findTraces({ skill: '' })).traces).toMatchObject([
      { skillName: '', status: 'running' },
    ])
    expect(await query.listSkills()).toMatchObject([{ skillName: 'build', traceCount: 1, runningCount: 1 }])
  })

  test('parent and root, in any case', async () => {
    const [root] = (await write([{ k: 'root' }])) as [string]
    const [child] = (await write([{ k: 'child', u: [root, 3, root] }])) as [string]
    await write([{ k: 'grandchild', u: [child, null, root] }])
    const skills = async (filters: object) => (await query.findTraces(filters)).traces.map((t) => t.skillName)
    expect(await skills({ parentTraceId: root.toUpperCase() })).toEqual(['child'])
    expect(await skills({ rootTraceId: root })).toEqual(['grandchild', 'child'])
  })
})

describe('lists', () => {
  test('nobody waits for ask nothing, and break nothing', async () => {
    const unhandled: unknown[] = []
    const listen = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', listen)
    const list = query.findTraces({ limit: -1 })
    await pool.query('select 1')
    await pool.query('select 1')
    process.off('unhandledRejection', listen)
    expect(unhandled).toEqual([])
    await expect(list).rejects.toMatchObject({ code: 'INVALID_INPUT' })
    await expect(async () => {
      for await (const _ of list) throw new Error('never')
    }).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  })

  test('keep the filters they were made with, and can be read again', async () => {
    await write([{ k: 'a' }, { k: 'b' }])
    const filters = { skill: 'a' }
    const list = query.findTraces(filters)
    filters.skill = 'b'
    for (let i = 0; i < 2; i++) {
      const skills: string[] = []
      for await (const { skillName } of list) skills.push(skillName)
      expect(skills).toEqual(['a'])
    }
    await write([{ k: 'a' }])
    expect((await list).traces).toHaveLength(2)
  })

  test('of failures hold no more rows than asked for, however many share the messages', async () => {
    const deltas = Array.from({ length: 4_000 }, (_, i) => ({
      k: 'a',
      startMs: now - i,
      e: ['f', 5, 5, i % 2 === 0 ? 'no redis' : `no redis ${i % 40}`] as Delta['e'] & {},
    }))
    const ids = await write(deltas)
    const found = await query.findSimilarFailures('no redis', { limit: 1_000 })
    expect(found.map((f) => f.traceId)).toEqual(ids.filter((_, i) => i % 2 === 0).slice(0, 1_000))
    const beyond = await query.findSimilarFailures('no redis 7', { limit: 150 })
    expect(beyond.map((f) => f.similarityScore)).toEqual([...Array(100).fill(1), ...Array(50).fill(2 / 3)])
  })
})

describe('the database', () => {
  test('a lent pool may parse types its own way', async () => {
    const [id] = await write([
      { k: 'build', m: { a: 1 }, r: 1, s: [[1, 'a', 0, 1]], n: [1, 1], e: ['f', 5, 5, 'no'] },
    ])
    const types = {
      getTypeParser: (oid: number) => (oid === 25 || oid === 1043 ? String : (text: string) => text),
    }
    const texts = new pg.Pool({ connectionString: database.url, types: types as never })
    const theirs = new TraceQuery(texts)
    expect(await theirs.getTrace(id as string)).toEqual(await query.getTrace(id as string))
    expect(await theirs.queryBySkill('build')).toEqual(await query.queryBySkill('build'))
    expect(await theirs.findSimilarFailures('no')).toEqual(await query.findSimilarFailures('no'))
    expect(await theirs.listSkills()).toEqual(await query.listSkills())
    const window = { skill: 'build', since: new Date(now - 60_000), until: new Date(now + 60_000) }
    const answers = async (one: TraceQuery): Promise<unknown[]> => [
      await one.findTraces({ skill: 'build', status: 'failed', minDurationMs: 1 }),
      await one.skillStats({ ...window, bucket: 'minute' }),
      await one.stepStats(window),
      await one.explainFailures(window),
      await one.listRunning(),
      await one.findStuck(),
    ]
    expect(await answers(theirs)).toEqual(await answers(query))
    await texts.end()
  })

  test('a lent pool may write times its own way', async () => {
    await pool.query(
      `insert into execution_retention (month, removed, looked_for, looked_at) values ('2026-10-01', 7, '', now())`,
    )
    for (const style of ['ISO', 'SQL,DMY', 'German', 'Postgres,MDY']) {
      const options = `-c datestyle=${style} -c timezone=Asia/Kolkata`
      const lent = new pg.Pool({ connectionString: database.url, options })
      expect(
        (await new TraceQuery(lent).skillStats({ since: '2026-10-03', until: '2026-10-04' })).removed,
      ).toEqual([{ month: new Date('2026-10-01'), removedCount: 7 }])
      await lent.end()
    }
    await pool.query('truncate execution_retention')
  })

  test('a schema of its own', async () => {
    await migrateToLatest({ connectionString: database.url, schema: 'traces_of_ours' })
    const theirs = openDatabase(database.url, 'traces_of_ours')
    const said = [
      {
        producer: '',
        delta: { t: newTraceId(now), k: 'x', s: [], n: [0, 0], e: ['f', 1, 1, 'no'] } as Delta,
      },
    ]
    const { traceId, startedAtMs } = assemble(said)
    await new TraceWriter(theirs).write([{ traceId, startedAtMs, said, known: false }])
    await theirs.close()
    await using other = new TraceQuery(database.url, { schema: 'traces_of_ours' })
    expect(await other.queryBySkill('x')).toHaveLength(1)
    expect(await other.getTrace(traceId)).toMatchObject({ skillName: 'x' })
    expect(await other.findSimilarFailures('no')).toHaveLength(1)
    expect(await other.listSkills()).toHaveLength(1)
    expect(await query.queryBySkill('x')).toEqual([])
  })

  test('a statement that takes too long ends with the error of pg', async () => {
    await write([{ k: 'a' }])
    await using hasty = new TraceQuery(
      { connectionString: database.url, statement_timeout: 60_000 },
      { statementTimeoutMs: 50 },
    )
    const blocker = await pool.connect()
    await blocker.query('begin; lock table execution_traces')
    await expect(hasty.queryBySkill('a')).rejects.toMatchObject({ code: '57014' })
    await blocker.query('rollback')
    blocker.release()
  })

  test('at most so many connections as it is told', async () => {
    await using narrow = new TraceQuery(
      { connectionString: database.url, application_name: 'narrow' },
      { maxConnections: 1 },
    )
    await Promise.all(Array.from({ length: 5 }, () => narrow.listSkills()))
    const { rows } = await pool.query("select from pg_stat_activity where application_name = 'narrow'")
    expect(rows).toHaveLength(1)
  })

  test('a connection that breaks while idle is replaced', async () => {
    await using own = new TraceQuery({ connectionString: database.url, application_name: 'own' })
    await own.listSkills()
    await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'own'")
    await expect.poll(() => own.listSkills().catch(() => undefined)).toEqual([])
  })

  test.each([
    { statementTimeoutMs: -1 },
    { statementTimeoutMs: Number.NaN },
    { maxConnections: 0 },
    { shema: 'x' },
  ])('options %o are refused', (options) => {
    expect(() => new TraceQuery(database.url, options as never)).toThrow(
      /statementTimeoutMs|maxConnections|shema/,
    )
  })
})
