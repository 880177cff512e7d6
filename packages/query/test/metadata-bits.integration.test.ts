// Searches by metadata of a skill's runs, or of failures: the bits that the indexes have must never hide a trace.
import { type Delta, type Json, newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { openDatabase, TraceStorage, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Position } from '../src/cursor.ts'
import { openForReading } from '../src/database.ts'
import { conditionsOf } from '../src/trace-conditions.ts'
import { lookAtTold } from '../src/trace-list.ts'
import { now, store } from './stored-traces.ts'

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

const found = async (metadata: Record<string, unknown>): Promise<string[]> =>
  (await query.findTraces({ skill: 'skill', metadata: metadata as never, limit: 1_000 })).traces.map(
    ({ traceId }) => traceId,
  )

test('metadata that is replaced is found as it is, and no more as it was', async () => {
  const writing = openDatabase(database.url)
  const writer = new TraceWriter(writing)
  const startedAtMs = Date.now()
  const traceId = newTraceId(startedAtMs)
  const write = (delta: Omit<Delta, 't'>, known: boolean) =>
    writer.write([
      { traceId, startedAtMs, said: [{ producer: '', delta: { t: traceId, ...delta } as Delta }], known },
    ])
  await write({ b: 1, k: 'skill', m: { env: 'dev' }, r: 1, n: [0, 0] }, false)
  expect(await found({ env: 'dev' })).toEqual([traceId])
  for (let r = 2; r < 6; r++) {
    await write({ k: 'skill', m: { env: `env-${r}` }, r, n: [0, 0] }, true)
    expect(await found({ env: `env-${r}` })).toEqual([traceId])
    expect(await found({ env: 'dev' })).toEqual([])
  }
  await writing.close()
})

test('of versions that the bits do not count', async () => {
  const traceId = await store(storage, { metadata: { env: 'dev' } })
  await pool.query(`update execution_traces set version = 126`)
  for (let i = 0; i < 4; i++)
    await storage.finalizeTrace(
      {
        traceId,
        skillName: 'skill',
        startedAt: new Date(now),
        steps: [{ id: i + 10, name: 'late', status: 'success', durationMs: 1 }],
        metadata: { env: 'dev' },
      },
      'success',
    )
  const { rows } = await pool.query('select version, metadata_bits from execution_traces')
  expect(rows).toEqual([{ version: 130, metadata_bits: null }])
  expect(await found({ env: 'dev' })).toEqual([traceId])
})

test('what a worker writes that knows no bits is found', async () => {
  const [changed, unchanged] = [
    await store(storage, { metadata: { env: 'dev' } }),
    await store(storage, { metadata: { env: 'dev' } }),
  ] as const
  await pool.query(
    `update execution_traces set metadata = '{"env":"qa"}', version = version + 1 where trace_id = $1`,
    [changed],
  )
  await pool.query('update execution_traces set metadata_bits = null where trace_id = $1', [unchanged])
  expect(await found({ env: 'qa' })).toEqual([changed])
  expect(await found({ env: 'dev' })).toEqual([unchanged])
})

test('whatever metadata is and whatever is asked for: what Postgres says that contains it', async () => {
  const values = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>
  const metadata = fc.dictionary(fc.constantFrom('a', 'b', 'c"', 'ä\\'), values, { maxKeys: 4 })
  for (const one of fc.sample(metadata, { seed: 7, numRuns: 150 })) await store(storage, { metadata: one })
  const { rows } = await pool.query<{ metadata: Record<string, Json> }>(
    'select metadata from execution_traces',
  )
  const parts = rows.flatMap(({ metadata: one }) =>
    Object.entries(one).map((entry) => Object.fromEntries([entry])),
  )
  expect(parts.length).toBeGreaterThan(150)
  for (const part of parts) {
    const containing = await pool.query<{ trace_id: string }>(
      'select trace_id from execution_traces where metadata @> $1::jsonb order by started_at desc, trace_id desc',
      [JSON.stringify(part)],
    )
    expect(await found(part), JSON.stringify(part)).toEqual(containing.rows.map((row) => row.trace_id))
  }
})

test.each(['older', 'newer'] as const)(
  'looking to %s sees each trace once, also where many started together',
  async (direction) => {
    for (let i = 0; i < 30; i++)
      await store(storage, {
        at: now - (i % 4),
        status: i % 5 === 0 ? 'success' : 'failed',
        metadata: { n: i % 3 },
      })
    // Without a word from the bits, and with a wrong one.
    await pool.query(`update execution_traces set metadata_bits = null where metadata = '{"n": 2}'`)
    await pool.query(
      `update execution_traces set version = 2 where metadata = '{"n": 1}' and status = 'success'`,
    )
    const { db } = openForReading(pool, {})
    const tables = { table: 'execution_traces', signatures: 'failure_signatures' }
    for (const filters of [{ skill: 'skill' }, { status: ['failed' as const] }])
      for (const n of [1, 2, 3]) {
        const asked = { ...filters, metadata: JSON.stringify({ n }) }
        const expected = await pool.query<{ trace_id: string }>(
          `select trace_id from execution_traces where metadata @> $1::jsonb and ($2 or status = 'failed')
            order by started_at desc, trace_id desc`,
          [asked.metadata, 'skill' in filters],
        )
        const ids = expected.rows.map((row) => row.trace_id)
        if (direction === 'newer') ids.reverse()
        const conditions = conditionsOf(asked, tables.signatures)
        for (const look of [1, 2, 7, 8, 29, 30, 31]) {
          const seen: string[] = []
          for (let from: Position | undefined; ; ) {
            const search = { ...tables, filters: asked, from, direction, count: 100 }
            if (conditions.told === undefined) throw new Error('nothing is told')
            const { rows, last } = await lookAtTold(db, conditions, conditions.told, search, look)
            seen.push(...rows.map((row) => row.trace_id))
            if (last === undefined) break
            from = last
          }
          expect(seen).toEqual(ids)
        }
      }
  },
)
