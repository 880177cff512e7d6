import { newTraceId, type StepTuple } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { type Database, openDatabase, rebuildRollups, refreshRollups, TraceStorage } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, expect, test } from 'vitest'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const RUNS = 600
/** Rolled up from traces, and from minutes. */
const [OLD_MS, NEW_MS] = [10 * DAY, DAY].map((ms) => Math.floor((Date.now() - ms) / HOUR) * HOUR) as [
  number,
  number,
]

let database: TestDatabase
let opened: Database
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  opened = openDatabase(database.url)
  query = new TraceQuery(database.url)
  await using storage = new TraceStorage(database.url)
  for (const hourMs of [OLD_MS, NEW_MS]) {
    // Makes the table of the month.
    const [traceId, startedAt] = [newTraceId(hourMs), new Date(hourMs)]
    await storage.finalizeTrace(
      { traceId, skillName: 'busy', startedAt, completedAt: startedAt, steps: [] },
      'success',
    )
    await storage.deleteTrace(traceId)
    await opened.pool.query(
      `insert into execution_traces (trace_id, started_at, skill_name, status, total_duration_ms, steps)
       select gen_random_uuid(), to_timestamp($1::float8 / 1000) + i * interval '6 seconds', case when i % 20 = 7 then 'calm' else 'busy' end,
              case when i % 5 = 0 then 'failed' else 'success' end, i * 7919 % 1000 + 1,
              json_build_array(json_build_array(1, 'load', 0, i * 31 % 100 + 0.5),
                               json_build_array(2, case when i % 50 = 0 then 'rare' else 'act' end, 1, i * 17 % 500, case when i % 5 = 0 then 1 else 0 end))
         from generate_series(0, $2 - 1) i`,
      [hourMs, RUNS],
    )
  }
  await rebuildRollups(opened)
})
afterAll(async () => {
  await query.close()
  await opened.close()
  await database.drop()
})

/** Against all that is stored, one by one. */
async function expectTruth(skill: string, sinceMs: number, untilMs: number, bucket?: 'hour' | 'day') {
  const { rows } = await opened.pool.query<{ status: string; steps: StepTuple[] }>(
    'select status, steps from execution_traces where skill_name = $1 and started_at >= $2 and started_at <= $3',
    [skill, new Date(sinceMs), new Date(untilMs)],
  )
  const told = await query.stepStats({ skill, since: sinceMs, until: untilMs, ...(bucket && { bucket }) })
  expect(told.total).toMatchObject({
    traceCount: rows.length,
    failedCount: rows.filter(({ status }) => status === 'failed').length,
  })
  const durations = new Map<string, number[]>()
  for (const [, name, , ms] of rows.flatMap(({ steps }) => steps))
    durations.set(name, [...(durations.get(name) ?? []), ms ?? 0])
  expect(new Set(told.steps.map(({ stepName }) => stepName))).toEqual(new Set(durations.keys()))
  for (const { stepName, buckets, ...step } of told.steps) {
    const all = (durations.get(stepName) ?? []).toSorted((a, b) => a - b)
    expect(step).toMatchObject({ stepCount: all.length, traceCount: all.length, maxDurationMs: all.at(-1) })
    expect(step.totalDurationMs).toBeCloseTo(
      all.reduce((a, b) => a + b, 0),
      6,
    )
    const median = all[Math.ceil(all.length / 2) - 1] as number
    expect(Math.abs((step.p50DurationMs as number) - median)).toBeLessThanOrEqual(0.01 * median)
    expect((buckets ?? [step]).reduce((sum, { stepCount }) => sum + stepCount, 0)).toBe(all.length)
  }
  return rows.length
}

/** Windows with ends within the hour. */
async function expectWindows(hourMs: number): Promise<void> {
  for (const skill of ['busy', 'calm', 'none'])
    for (const [from, to] of [
      [7.05, 60],
      [0, 44.95],
      [15, 45],
      [16, 29],
      [-90, 31],
      [29.99, 200],
      [3, 57],
    ] as const)
      for (const bucket of [undefined, 'hour', 'day'] as const)
        await expectTruth(skill, hourMs + from * MINUTE, hourMs + to * MINUTE - 1, bucket)
}

const partsOf = async (hourMs: number): Promise<{ skill: string; apart: boolean }[]> => {
  const { rows } = await opened.pool.query(
    `select skill_name as skill, parts is not null as apart from execution_rollups
      where width_s = 3600 and bucket = $1 order by skill_name`,
    [new Date(hourMs)],
  )
  return rows
}
const APART = [
  { skill: 'busy', apart: true },
  { skill: 'calm', apart: false },
]

test('the steps of a window that ends within a busy hour', async () => {
  expect(await partsOf(OLD_MS)).toEqual(APART)
  await expectWindows(OLD_MS)
})

test('the same where minutes were merged to the hour, and are kept no longer', async () => {
  expect(await partsOf(NEW_MS)).toEqual(APART)
  await expectWindows(NEW_MS)
  await refreshRollups(opened, { nowMs: Date.now() + 6 * DAY })
  const { rows } = await opened.pool.query('select from execution_rollups where width_s = 60')
  expect(rows).toEqual([])
  await expectWindows(NEW_MS)
})

test('a run that comes late, and one that goes, count at once', async () => {
  await using storage = new TraceStorage(database.url)
  const startedAt = new Date(OLD_MS + 20 * MINUTE + 1)
  const traceId = newTraceId(startedAt.getTime())
  const count = async (): Promise<number> => expectTruth('busy', OLD_MS + 7 * MINUTE, OLD_MS + 55 * MINUTE)
  const before = await count()
  await storage.finalizeTrace(
    { traceId, skillName: 'busy', startedAt, completedAt: new Date(startedAt.getTime() + 5), steps: [] },
    'success',
  )
  expect(await count()).toBe(before + 1)
  await refreshRollups(opened, { nowMs: Date.now() + HOUR })
  expect(await partsOf(OLD_MS)).toEqual(APART)
  expect(await count()).toBe(before + 1)
  await storage.deleteTrace(traceId)
  expect(await count()).toBe(before)
})

test('quarters are read in place of their runs, and the runs where a version before has written no quarters', async () => {
  await rebuildRollups(opened)
  const window = { skill: 'busy', since: OLD_MS + 10 * MINUTE, until: OLD_MS + 59 * MINUTE - 1 }
  const told = async () => (await query.stepStats(window)).total.traceCount
  const all = await told()
  // Behind the back of everybody.
  const { rowCount } = await opened.pool.query(
    `delete from execution_traces where skill_name = 'busy' and started_at >= $1 and started_at < $2`,
    [new Date(OLD_MS + 15 * MINUTE), new Date(OLD_MS + 45 * MINUTE)],
  )
  expect(rowCount).toBeGreaterThan(200)
  expect(await told()).toBe(all)
  await opened.pool.query('update execution_rollups set parts = null')
  expect(await told()).toBe(all - (rowCount ?? 0))
})
