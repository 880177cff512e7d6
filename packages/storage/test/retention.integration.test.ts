import { monthBounds, monthOf, newTraceId, type TraceStatus, traceIdStart } from '@stepwell/protocol'
import {
  applyRetention,
  classOf,
  type Database,
  openDatabase,
  parseRetentionRules,
  planRetention,
  type RewriteStage,
  TraceGoneError,
  TraceStorage,
  TraceWriter,
} from '@stepwell/storage'
import { type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { allRows, fillMonth, type Row } from './month-of-traces.ts'

const SKILLS = ['build', "o'dd, name/%", 'deploy']
const STATUSES: TraceStatus[] = ['success', 'success', 'failed', 'timeout', 'running']
const MONTH = { year: 2026, month: 3 }
const nowMs = Date.UTC(2026, 3, 20)
const rules = parseRetentionRules("success=7d, failed=90d, build/failed=10d, o'dd%2C%20name/%25/*=2d")
const policy = { rules, keepMonths: 0 }
/** The classes that are past their time. */
const goes = rules.flatMap((rule, i) => (rule.keepDays < 20 ? [i] : []))
const isKept = (row: Row): boolean => !goes.includes(classOf(rules, row))

let testDatabase: TestDatabase
let database: Database
let rows: Row[]

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase(testDatabase.url)
})
beforeEach(async () => {
  await database.pool.query(
    'truncate execution_traces, execution_retention, execution_late_writes; drop table if exists execution_traces_2026_02, execution_traces_2026_03',
  )
  rows = await fillMonth(database, MONTH, { count: 300, skills: SKILLS, statuses: STATUSES })
})
afterAll(async () => {
  await database.close()
  await testDatabase.drop()
})

const startOf = (traceId: string): number => traceIdStart(traceId) as number

const tables = async (): Promise<string[]> =>
  (
    await database.pool.query(
      "select relname as name from pg_class where relkind = 'r' and relname ~ '^execution_traces_2026_0[2-4]' order by 1",
    )
  ).rows.map(({ name }) => name)

test('a month is rewritten once, and has exactly the rows that stay, untouched', async () => {
  const before = await allRows(database)
  const [plan] = await planRetention(database, policy, { nowMs, months: [MONTH] })
  const kept = rows.filter(isKept)
  expect(plan).toMatchObject({ action: 'rewrite', traces: 300, removedTraces: 300 - kept.length })
  // By brute force.
  for (const { name, traces } of plan?.classes ?? [])
    expect([name, traces]).toEqual([
      name,
      rows.filter((row) => {
        const at = classOf(rules, row)
        return (
          name ===
            (at < 0
              ? 'running'
              : at === rules.length
                ? 'others'
                : plan?.classes.find((c) => c.name === name)?.name) && classNameOf(at) === name
        )
      }).length,
    ])
  expect(plan?.classes.reduce((sum, one) => sum + one.bytes, 0)).toBeCloseTo(plan?.bytes ?? 0, -1)
  // A plan changes nothing.
  expect(await allRows(database)).toEqual(before)

  const told: string[] = []
  const debugging = openDatabase({
    connectionString: testDatabase.url,
    options: '-c client_min_messages=debug1',
    onConnect: (client) => client.on('notice', ({ message }) => told.push(message ?? '')),
  })
  const onStage = (_: unknown, stage: RewriteStage): number => told.push(stage)
  const applied = await applyRetention(debugging, policy, { nowMs, onStage })
  await debugging.close()
  expect(applied).toMatchObject([
    {
      month: MONTH,
      action: 'rewritten',
      removed: 300 - kept.length,
      kept: kept.length,
      bytesFreed: expect.any(Number),
    },
  ])
  expect(await allRows(database)).toEqual(new Map(kept.map(({ traceId }) => [traceId, before.get(traceId)])))
  expect(await tables()).toEqual(['execution_traces_2026_03'])
  // While everybody waits no row is read and no index is built: Postgres says so.
  const swap = told.slice(told.indexOf('swap'))
  expect(swap).toContainEqual(expect.stringMatching(/^partition constraint .* is implied by existing/))
  expect(swap.filter((message) => /^(building index|verifying table)/.test(message))).toEqual([])
  // What the partition has, the others have too: indexes, constraints, and no more.
  const shapes = await database.pool.query(
    `select c.relname as name, (select count(*) from pg_index i where i.indrelid = c.oid and indisvalid) as indexes,
            (select count(*) from pg_inherits h join pg_index i on i.indexrelid = h.inhrelid where i.indrelid = c.oid) as attached,
            (select string_agg(conname, ' ' order by conname) from pg_constraint k where k.conrelid = c.oid and contype = 'c') as checks,
            c.reltuples >= 0 as analyzed
       from pg_inherits p join pg_class c on c.oid = p.inhrelid where p.inhparent = 'execution_traces'::regclass order by 1`,
  )
  const [first, ...others] = shapes.rows.map(({ name, analyzed, ...shape }) => ({ ...shape }))
  expect(first.indexes).toBe(first.attached)
  expect(others).toEqual(others.map(() => first))
  // There is nothing more to do.
  expect(await applyRetention(database, policy, { nowMs })).toEqual([])
  expect(await applyRetention(database, policy, { nowMs, again: true })).toEqual([])
})

const classNameOf = (at: number): string =>
  at < 0 ? 'running' : at === rules.length ? 'others' : (CLASS_NAMES[at] as string)
const CLASS_NAMES = rules.map(
  ({ skill, status }) =>
    `${skill === undefined ? '' : `${skill.replace(/[%, ]/g, encodeURIComponent)}/`}${status ?? '*'}`,
)

test('months past all keeping are dropped, but for traces that run', async () => {
  const old = { year: 2026, month: 2 }
  await fillMonth(database, old, { count: 9, skills: ['a'], statuses: ['success', 'failed'] })
  const applied = await applyRetention(database, { rules: [], keepMonths: 1 }, { nowMs })
  expect(applied).toMatchObject([
    { month: old, action: 'dropped' },
    { month: MONTH, action: 'rewritten', kept: 60, removed: 240 },
  ])
  expect(await tables()).toEqual(['execution_traces_2026_03'])
  const running = rows.filter(({ status }) => status === 'running').map(({ traceId }) => traceId)
  expect(new Set((await allRows(database)).keys())).toEqual(new Set(running))
})

test('what is written to a month while it is rewritten is all there afterwards, and no older than it was', async () => {
  const writer = new TraceWriter(database)
  const storage = new TraceStorage(database.pool)
  const write = async (row: Row, delta: object): Promise<void> => {
    const said = { producer: '', delta: { t: row.traceId, n: [0, 0], ...delta } as never }
    await writer.write([
      { traceId: row.traceId, startedAtMs: startOf(row.traceId), said: [said], known: true },
    ])
  }
  const pick = (status: TraceStatus): Row[] =>
    rows.filter((row) => row.status === status && row.skillName === 'deploy')
  /** One of each at each stage: a new row, a running one that ends, a kept one and a going one that get a step, and one deleted. */
  const written: { traceId: string; steps?: number; status?: string }[] = []
  const deleted: string[] = []
  let n = 0
  const onStage = async (_: unknown, stage: RewriteStage): Promise<void> => {
    // After the swap a part of what has gone is refused.
    if (stage === 'drop') return
    const fresh: Row = { traceId: newTraceId(Date.UTC(2026, 2, 10)), skillName: 'deploy', status: 'success' }
    await write(fresh, { b: 1, k: `at ${stage}`, e: ['s', 5, 5], n: [1, 1], s: [[1, 'a', 0, 1]] })
    written.push({ traceId: fresh.traceId, steps: 1, status: 'success' })
    const [running, failed, success, gone] = [
      pick('running')[n],
      pick('failed')[n],
      pick('success')[n],
      pick('timeout')[n],
    ] as Row[]
    await write(running as Row, { k: 'deploy', e: ['s', 5, 5] })
    written.push({ traceId: (running as Row).traceId, status: 'success' })
    for (const row of [failed, success] as Row[]) {
      await write(row, { k: 'deploy', s: [[2, 'late', 3, 4]], n: [2, 2] })
      written.push({ traceId: row.traceId, steps: 2 })
    }
    expect(await storage.deleteTrace((gone as Row).traceId)).toBe(true)
    deleted.push((gone as Row).traceId)
    n += 1
  }
  const [applied] = (await applyRetention(database, policy, { nowMs, onStage })) ?? []
  expect(n).toBe(5)
  expect(applied).toMatchObject({ action: 'rewritten' })
  const after = (await allRows(database)) as Map<string, { step_count: number; status: string }>
  for (const { traceId, steps, status } of written) {
    const row = after.get(traceId)
    expect(row, traceId).toBeDefined()
    if (steps !== undefined) expect(row?.step_count).toBe(steps)
    if (status !== undefined) expect(row?.status).toBe(status)
  }
  for (const traceId of deleted) expect(after.has(traceId)).toBe(false)
  const touched = new Set([...written.map(({ traceId }) => traceId), ...deleted])
  for (const row of rows) if (!touched.has(row.traceId)) expect(after.has(row.traceId)).toBe(isKept(row))
})

test('a run that comes while its month is dropped is there afterwards', async () => {
  const old = { year: 2026, month: 2 }
  await fillMonth(database, old, { count: 9, skills: ['a'], statuses: ['success', 'failed'] })
  // Whoever drops it notes that in this row: so long it cannot go on.
  await database.pool.query(
    "insert into execution_retention (month, removed, looked_for, looked_at) values ('2026-02-01', 1, '', now())",
  )
  const holder = await database.pool.connect()
  await holder.query('begin; select from execution_retention for update')
  const applying = applyRetention(database, { rules: [], keepMonths: 2 }, { nowMs })
  const waits = async (): Promise<boolean> =>
    (
      await database.pool.query(
        "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%execution_retention%'",
      )
    ).rows.length > 0
  await waitFor(waits, { what: 'it is about to drop the month' })
  const startedAtMs = Date.UTC(2026, 1, 10)
  const traceId = newTraceId(startedAtMs)
  const said = [{ producer: '', delta: { t: traceId, b: 1, k: 'imported', n: [0, 0], h: 1 } as never }]
  const write = (): Promise<unknown> =>
    new TraceWriter(database).write([{ traceId, startedAtMs, said, known: false }])
  const isWritten = await write().then(
    () => true,
    () => false,
  )
  await holder.query('commit')
  holder.release()
  await applying
  if (!isWritten) await write()
  expect((await allRows(database)).get(traceId)).toMatchObject({ status: 'running' })
})

test('a month that has just ended is left alone: what is written to it is not noted yet', async () => {
  const month = monthOf(Date.now())
  const { toMs } = monthBounds(month)
  const [row] = (await fillMonth(database, month, { count: 1, skills: ['a'], statuses: ['running'] })) as [
    Row,
  ]
  await fillMonth(database, month, { count: 4, skills: ['a'], statuses: ['success'] })
  const writer = new TraceWriter(database)
  let ends = 0
  const end = async (): Promise<void> => {
    const said = [{ producer: '', delta: { t: row.traceId, k: 'a', n: [1, 1], e: ['s', 5, 5] } as never }]
    await writer.write([{ traceId: row.traceId, startedAtMs: startOf(row.traceId), said, known: true }])
    ends += 1
  }
  const keepOne = { rules: [], keepMonths: 1 }
  const apply = (atMs: number) =>
    applyRetention(database, keepOne, {
      nowMs: atMs,
      months: [month],
      onStage: (_, stage) => (stage === 'index' ? end() : undefined),
    })
  const DAY_MS = 86_400_000
  const applied = await apply(toMs + 2 * DAY_MS - 1)
  if (ends === 0) await end()
  expect((await allRows(database)).get(row.traceId)).toMatchObject({ status: 'success' })
  expect(applied).toEqual([])
  expect(await apply(toMs + 2 * DAY_MS)).toMatchObject([{ month, action: 'dropped', removed: 5 }])
})

test('writers that never pause lose nothing', async () => {
  const writer = new TraceWriter(database)
  const expected = new Map<string, number>()
  const kept = rows.filter((row) => row.status === 'failed' && row.skillName === 'deploy')
  let applied: unknown
  const write = async (traceId: string, delta: object): Promise<void> => {
    const said = { producer: '', delta: { t: traceId, k: 'deploy', ...delta } as never }
    await writer.write([{ traceId, startedAtMs: startOf(traceId), said: [said], known: true }])
  }
  /** New traces, and one step after the other for a trace of its own. */
  const loop = async (row: Row): Promise<void> => {
    for (let step = 2; applied === undefined; step++) {
      await write(row.traceId, { s: [[step, 'late', 3, 4]], n: [step, step] })
      expected.set(row.traceId, step)
      const fresh = newTraceId(Date.UTC(2026, 2, 10))
      await write(fresh, { b: 1, e: ['f', 5, 5], n: [1, 1], s: [[1, 'a', 0, 1]] })
      expected.set(fresh, 1)
    }
  }
  const loops = kept.slice(0, 3).map(loop)
  const [one] = (await applyRetention(database, policy, { nowMs })) ?? []
  await waitFor(() => expected.size > 20, { what: 'some are written after it too' })
  applied = one
  await Promise.all(loops)
  expect(one).toMatchObject({ action: 'rewritten' })
  const after = (await allRows(database)) as Map<string, { step_count: number; missing_steps: number }>
  for (const [traceId, steps] of expected)
    expect(after.get(traceId)).toMatchObject({ step_count: steps, missing_steps: 0 })
  expect([...expected.values()].some((steps) => steps > 5)).toBe(true)
})

const killVictim = (): Promise<unknown> =>
  database.pool.query(
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'victim'",
  )

const STAGES: RewriteStage[] = ['copy', 'index', 'freeze', 'catch up', 'swap']
test.each(STAGES)(
  'whoever loses its connections before "%s" leaves the month as it was; the next one ends it',
  async (stage) => {
    const before = await allRows(database)
    const victim = openDatabase({ connectionString: testDatabase.url, application_name: 'victim' })
    const onStage = async (_: unknown, at: RewriteStage): Promise<void> => {
      if (at === stage) await killVictim()
    }
    await expect(applyRetention(victim, policy, { nowMs, onStage })).rejects.toThrow()
    await victim.close()
    expect(await allRows(database)).toEqual(before)
    expect((await tables()).length).toBe(stage === 'copy' ? 1 : 2)
    expect(await applyRetention(database, policy, { nowMs })).toMatchObject([{ action: 'rewritten' }])
    expect(await tables()).toEqual(['execution_traces_2026_03'])
    expect((await allRows(database)).size).toBe(rows.filter(isKept).length)
  },
)

test('whoever loses them after the swap has done the month; the next one clears away what was the partition', async () => {
  const victim = openDatabase({ connectionString: testDatabase.url, application_name: 'victim' })
  const onStage = async (_: unknown, at: RewriteStage): Promise<void> => {
    if (at === 'drop') await killVictim()
  }
  await expect(applyRetention(victim, policy, { nowMs, onStage })).rejects.toThrow()
  await victim.close()
  expect((await allRows(database)).size).toBe(rows.filter(isKept).length)
  expect((await tables()).length).toBe(2)
  expect(await applyRetention(database, policy, { nowMs })).toEqual([])
  expect(await tables()).toEqual(['execution_traces_2026_03'])
})

test('of two at once one does it, the other nothing', async () => {
  let other: unknown = 'not asked'
  const onStage = async (_: unknown, stage: RewriteStage): Promise<void> => {
    if (stage === 'swap') other = await applyRetention(database, policy, { nowMs })
  }
  expect(await applyRetention(database, policy, { nowMs, onStage })).toHaveLength(1)
  expect(other).toBeUndefined()
})

test('a part of a removed trace does not come back as a torso; a whole one does', async () => {
  const writer = new TraceWriter(database)
  await applyRetention(database, policy, { nowMs })
  const write = (delta: object, atMs = Date.UTC(2026, 2, 10)): Promise<unknown> => {
    const traceId = newTraceId(atMs)
    const said = { producer: '', delta: { t: traceId, n: [3, 3], ...delta } as never }
    return writer.write([{ traceId, startedAtMs: atMs, said: [said], known: false }])
  }
  const parts = [{ k: 'a', e: ['s', 5, 5] }, { b: 1, k: 'a' }, { s: [['g.1', 'step', 0, 1]] }]
  for (const part of parts) await expect(write(part)).rejects.toThrow(TraceGoneError)
  await write({ b: 1, k: 'a', e: ['s', 5, 5] })
  // Nothing was removed from this one.
  await write({ k: 'a', e: ['s', 5, 5] }, Date.UTC(2026, 1, 10))
  // Of what is there a part is welcome.
  const failed = rows.find(({ status, skillName }) => status === 'failed' && skillName === 'deploy') as Row
  const startedAtMs = startOf(failed.traceId)
  const said = {
    producer: '',
    delta: { t: failed.traceId, k: 'deploy', n: [2, 2], s: [[2, 'late', 1, 1]] } as never,
  }
  await writer.write([{ traceId: failed.traceId, startedAtMs, said: [said], known: false }])
})

test('a reader from before the copy is waited for: it finds all that it could find', async () => {
  const reader = await database.pool.connect()
  // It has not come to the traces yet, and is in the way of no lock.
  await reader.query('begin isolation level repeatable read; select from execution_retention')
  let isDone = false
  const applying = applyRetention(database, policy, { nowMs }).finally(() => {
    isDone = true
  })
  const vacuums = async (): Promise<boolean> => {
    const { rows } = await database.pool.query(
      "select from pg_stat_user_tables where relname = 'execution_traces_2026_03_rewrite' and vacuum_count > 1",
    )
    return rows.length > 0
  }
  await waitFor(async () => isDone || (await vacuums()), {
    what: 'it tries to freeze what it has copied again',
  })
  expect((await reader.query('select from execution_traces')).rowCount).toBe(300)
  await reader.query('commit')
  reader.release()
  expect(await applying).toHaveLength(1)
})

test('too little is left for later, until more goes', async () => {
  const few = { rules: parseRetentionRules('build/timeout=2d'), keepMonths: 0 }
  const options = { nowMs, minShare: 0.1 }
  expect(await planRetention(database, few, { ...options, months: [MONTH] })).toMatchObject([
    { action: 'wait', removedTraces: 20 },
  ])
  expect(await applyRetention(database, few, options)).toEqual([])
  expect(await applyRetention(database, few, { ...options, again: true, minShare: 0 })).toMatchObject([
    { removed: 20 },
  ])
})
