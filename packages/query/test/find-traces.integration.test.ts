import type { TraceStatus } from '@stepwell/protocol'
import { lengthClass, wordHash, wordKey } from '@stepwell/protocol/failures'
import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Position } from '../src/cursor.ts'
import { openForReading } from '../src/database.ts'
import { conditionsOf } from '../src/trace-conditions.ts'
import { lookOn } from '../src/trace-list.ts'
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

describe('findTraces', () => {
  test('each filter alone, and together', async () => {
    const a = await store({
      skill: 'a',
      status: 'failed',
      durationMs: 100,
      metadata: { env: 'prod', git: { branch: 'main' } },
      steps: ['load', "o'build"],
      executionId: 'exec',
      at: now - 3 * HOUR,
    })
    const b = await store({
      skill: 'b',
      status: 'timeout',
      durationMs: 200,
      metadata: { env: 'dev' },
      at: now - 2 * HOUR,
    })
    const c = await store({ skill: 'a', durationMs: 300, at: now - HOUR })
    const ids = async (filters: Parameters<TraceQuery['findTraces']>[0]) =>
      (await query.findTraces(filters)).traces.map((t) => t.traceId)
    expect(await ids({})).toEqual([c, b, a])
    expect(await ids({ skill: 'a' })).toEqual([c, a])
    expect(await ids({ status: 'failed' })).toEqual([a])
    expect(await ids({ status: ['failed', 'timeout'] })).toEqual([b, a])
    expect(await ids({ since: now - 2 * HOUR })).toEqual([c, b])
    expect(await ids({ until: new Date(now - 2 * HOUR) })).toEqual([b, a])
    expect(await ids({ minDurationMs: 200 })).toEqual([c, b])
    expect(await ids({ maxDurationMs: 200 })).toEqual([b, a])
    expect(await ids({ metadata: { env: 'prod' } })).toEqual([a])
    expect(await ids({ metadata: { git: { branch: 'main' } } })).toEqual([a])
    expect(await ids({ stepName: "o'build" })).toEqual([a])
    expect(await ids({ stepName: 'build' })).toEqual([])
    expect(await ids({ executionId: 'exec' })).toEqual([a])
    expect(
      await ids({ skill: 'a', minDurationMs: 100, metadata: { env: 'prod' }, stepName: 'load' }),
    ).toEqual([a])
    expect((await query.findTraces({ skill: 'a' })).traces[0]).not.toHaveProperty('steps')
  })

  test('words of error messages, whole and in any case and order; the step that it failed in', async () => {
    const failed = (error: string, i: number) =>
      store({ status: 'failed', error, steps: ['load'], failedStep: `step-${i % 2}`, at: now - i })
    const messages = [
      'connect refused by Redis',
      'Redis refused',
      'timeout',
      'connect timeout: redis',
      'REFUSED',
      'Straße gesperrt',
    ]
    const ids: string[] = []
    for (const [i, message] of messages.entries()) ids.push(await failed(message, i))
    await store({ status: 'timeout', error: 'timeout', steps: ['load'] })
    const found = async (filters: Parameters<TraceQuery['findTraces']>[0]) =>
      (await query.findTraces(filters)).traces.map(({ traceId }) => ids.indexOf(traceId))
    expect(await found({ errorText: 'refused' })).toEqual([0, 1, 4])
    expect(await found({ errorText: ' REDIS\trefused refused ' })).toEqual([0, 1])
    expect(await found({ errorText: 'timeout' })).toEqual([2])
    expect(await found({ errorText: 'time' })).toEqual([])
    expect(await found({ errorText: 'STRASSE' })).toEqual([])
    expect(await found({ errorText: 'straße' })).toEqual([5])
    expect(await found({ errorText: 'refused', status: 'timeout' })).toEqual([])
    expect(await found({ errorText: 'refused', status: ['failed', 'success'], skill: 'skill' })).toEqual([
      0, 1, 4,
    ])
    expect(await found({ failedStep: 'step-1' })).toEqual([1, 3, 5])
    expect(await found({ failedStep: 'step-1', errorText: 'redis' })).toEqual([1, 3])
    expect(await found({ failedStep: 'load' })).toEqual([])
  })

  test('words of error messages that share a hash are not taken for one another', async () => {
    const [word, twin, key, other] = ['dx88', 'zuk0', '2h2b', 'dtgr']
    expect(wordHash(twin)).toBe(wordHash(word))
    // Where it is the only word.
    expect(wordKey(wordHash(key), lengthClass(1))).toBe(wordHash(other))
    const ids: string[] = []
    for (const [i, error] of [
      word,
      twin,
      twin,
      `${twin} of ${word}`,
      `${twin} of ${twin}`,
      word,
      key,
    ].entries())
      ids.push(await store({ status: 'failed', error, at: now - i }))
    const found = async (errorText: string, limit = 10) => {
      const all: number[] = []
      for await (const { traceId } of query.findTraces({ errorText, limit })) all.push(ids.indexOf(traceId))
      return all
    }
    for (const limit of [1, 2, 10]) {
      expect(await found(word, limit)).toEqual([0, 3, 5])
      expect(await found(twin, limit)).toEqual([1, 2, 3, 4])
      expect(await found(`${word} ${twin}`, limit)).toEqual([3])
      expect(await found(`of ${word}`, limit)).toEqual([3])
      expect(await found(other, limit)).toEqual([])
    }
  })

  test('pages by cursor are the whole list, each trace once, also where many started together', async () => {
    for (let i = 0; i < 47; i++) await store({ at: now - (i % 4) })
    const { traces: all, nextCursor } = await query.findTraces({ limit: 1_000 })
    expect(nextCursor).toBeUndefined()
    expect(all).toHaveLength(47)
    const paged: string[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await query.findTraces({ limit: 10, ...(cursor === undefined ? {} : { cursor }) })
      paged.push(...page.traces.map((t) => t.traceId))
      cursor = page.nextCursor
      if (cursor === undefined) break
    }
    expect(paged).toEqual(all.map((t) => t.traceId))
    const iterated: string[] = []
    for await (const trace of query.findTraces({ limit: 7 })) iterated.push(trace.traceId)
    expect(iterated).toEqual(paged)
  })

  test.each(['older', 'newer'] as const)(
    'looking on to %s sees each trace once, also where many started together',
    async (direction) => {
      for (let i = 0; i < 30; i++)
        await store({ at: now - (i % 4), status: i % 5 === 0 ? 'timeout' : 'failed', metadata: { n: i % 3 } })
      const filters = { metadata: '{"n":1}' }
      const expected = (await query.findTraces({ metadata: { n: 1 } })).traces.map(({ traceId }) => traceId)
      expect(expected).toHaveLength(10)
      if (direction === 'newer') expected.reverse()
      const { db } = openForReading(pool, {})
      const tables = { table: 'execution_traces', signatures: 'failure_signatures' }
      for (const status of [undefined, ['failed', 'timeout'] as TraceStatus[]]) {
        const conditions = conditionsOf({ ...filters, status }, tables.signatures)
        const checks = conditions.rest.map(({ check }) => check)
        for (const look of [1, 2, 7, 8, 29, 30, 31]) {
          const seen: string[] = []
          for (let from: Position | undefined; ; ) {
            const search = { ...tables, filters, from, direction, count: 100 }
            const { rows, last } = await lookOn(db, conditions, search, look, checks)
            seen.push(...rows.map((row) => row.trace_id))
            if (last === undefined) break
            from = last
          }
          expect(seen).toEqual(expected)
        }
      }
    },
  )

  test('pages forth and back, each trace once and in its place, while others arrive before, among and behind them', async () => {
    const startedAt = new Map<string, number>()
    const add = async (at: number): Promise<void> => void startedAt.set(await store({ at }), at)
    for (let i = 0; i < 30; i++) await add(now - i * 1_000)
    const first = new Set(startedAt.keys())
    const newestFirst = (): string[] =>
      [...startedAt].sort(([a, at], [b, bt]) => bt - at || (a < b ? 1 : -1)).map(([id]) => id)
    const read = async (cursor?: string) => {
      const page = await query.findTraces({ limit: 4, ...(cursor === undefined ? {} : { cursor }) })
      return { ...page, ids: page.traces.map(({ traceId }) => traceId) }
    }
    const arrive = async (i: number, ...among: number[]): Promise<void> => {
      // Before all others, at the very place of some, and behind all.
      for (const at of [now + i, ...among, now - 60_000 - i]) await add(at)
    }
    let page = await read()
    const forth = [...page.ids]
    for (let i = 1; page.nextCursor !== undefined; i++) {
      // Of one that was read, and of one to come.
      await arrive(i, now - 2_000, now - 27_000)
      page = await read(page.nextCursor)
      forth.push(...page.ids)
      if (i > 20) throw new Error('the list does not end')
      if (i > 5) break
    }
    // Once each, in order, and of those that were there from the beginning none is left out.
    expect(new Set(forth).size).toBe(forth.length)
    expect(forth).toEqual(newestFirst().filter((id) => forth.includes(id)))
    const shown = forth.filter((id) => first.has(id))
    expect(shown).toEqual(
      newestFirst()
        .filter((id) => first.has(id))
        .slice(0, shown.length),
    )

    const back = [...page.ids]
    for (let i = 10; page.previousCursor !== undefined; i++) {
      const expected = newestFirst()
      page = await read(page.previousCursor)
      const at = expected.indexOf(back[0] as string)
      expect(page.ids).toEqual(expected.slice(Math.max(0, at - 4), at))
      back.unshift(...page.ids)
      // Of one to come alone: what arrives where the list was read is not in it.
      if (i < 14) await arrive(i, now - 2_000)
    }
    // All the way back to the newest, with all that arrived.
    expect(back).toEqual(newestFirst().slice(0, back.length))
    expect(await read(page.nextCursor)).toMatchObject({
      ids: back.slice(page.ids.length, page.ids.length + 4),
    })
  })

  test.each([
    [{ cursor: 'x' }, /cursor must be the nextCursor or previousCursor of a page/],
    [{ cursor: Buffer.from('[1,"",1,""]').toString('base64url') }, /cursor must be/],
    [{ status: 'done' }, /status must be one of running, success, failed, timeout/],
    [{ limit: 1_001 }, /limit/],
    [{ minDurationMs: -1 }, /minDurationMs must be milliseconds/],
    [{ metadata: 'env' }, /metadata/],
    [{ metadata: { a: () => {} } }, /metadata/],
    [{ metadata: { a: '\0' } }, /NUL/],
    [{ parentTraceId: 'x' }, /parentTraceId must be a trace id/],
    [{ errorText: ' \n' }, /errorText must hold a word/],
    [{ skil: 'a' }, /does not know 'skil'/],
  ])('%o is refused', async (filters, message) => {
    await expect(query.findTraces(filters as never)).rejects.toThrow(message)
  })

  test('a cursor of other filters is refused', async () => {
    for (let i = 0; i < 3; i++) await store({ at: now - i })
    const { nextCursor } = await query.findTraces({ limit: 1, skill: 'skill' })
    await expect(
      query.findTraces({ limit: 1, skill: 'other', cursor: nextCursor as string }),
    ).rejects.toThrow(/other filters/)
  })
})
