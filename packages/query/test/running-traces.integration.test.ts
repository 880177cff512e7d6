import { type Delta, newTraceId, type StepTuple } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { type Database, openDatabase, rebuildRollups, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

let database: TestDatabase
let pool: pg.Pool
let opened: Database
let writer: TraceWriter
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  opened = openDatabase(pool)
  writer = new TraceWriter(opened)
  query = new TraceQuery(pool)
})
beforeEach(() => pool.query('truncate execution_traces, execution_rollups, execution_rollup_marks'))
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

const MINUTE = 60_000
const now = Date.now()

/** Stores a trace that runs, as a checkpoint does. */
async function running(skill: string, forMs: number, steps: StepTuple[] = []): Promise<string> {
  return store(skill, now - forMs, {
    s: steps,
    n: [steps.length, steps.filter((step) => step.length > 3).length],
  })
}

/** Stores so many ended runs, from a minute to so many minutes long. */
async function ended(skill: string, count: number, status: 's' | 'f' | 't' = 's'): Promise<void> {
  for (let i = 1; i <= count; i++)
    await store(skill, now - 5 * 3_600_000 - i, { e: [status, i * MINUTE, i * MINUTE], n: [0, 0] })
}

async function store(skill: string, startMs: number, more: Partial<Delta>): Promise<string> {
  const traceId = newTraceId(startMs)
  const delta = { t: traceId, b: 1, k: skill, ...more } as Delta
  await writer.write([{ traceId, startedAtMs: startMs, said: [{ producer: '', delta }], known: false }])
  return traceId
}

test('what runs, oldest first, and the step that each is in; cut where it says so', async () => {
  const young = await running('build', MINUTE)
  const old = await running('deploy', 3 * MINUTE, [
    [1, 'load', 0, 500],
    [2, 'roll out', 500],
    [3, 'wait', 1_000],
  ])
  await ended('build', 1)
  const { running: found, truncated } = await query.listRunning()
  expect(found.map(({ trace }) => trace.traceId)).toEqual([old, young])
  expect(found[0]).toMatchObject({
    trace: { skillName: 'deploy', status: 'running', stepCount: 3 },
    step: { id: 3, name: 'wait', status: 'running', timestamp: new Date(now - 3 * MINUTE + 1_000) },
  })
  expect(found[0]?.trace).not.toHaveProperty('steps')
  expect(found[1]).not.toHaveProperty('step')
  expect(truncated).toBe(false)
  expect(await query.listRunning({ limit: 1 })).toMatchObject({
    running: [{ trace: { traceId: old } }],
    truncated: true,
  })
  expect((await query.listRunning({ skill: 'build' })).running).toHaveLength(1)
})

test('what runs longer than the p99 of its skill hangs, and where; the one furthest beyond it first', async () => {
  // Of 100 runs from 1 to 100 minutes the p99 is 99 minutes: by nearest rank.
  await ended('slow', 100)
  await ended('quick', 20)
  // How long runs last that time out says nothing of how long they take.
  await ended('quick', 60, 't')
  const step: StepTuple = [1, 'wait', 2_000]
  await running('slow', 98 * MINUTE)
  const slow = await running('slow', 100 * MINUTE, [step])
  await running('quick', 19 * MINUTE)
  const quick = await running('quick', 40 * MINUTE, [step])
  await ended('new', 19)
  await running('new', 59 * MINUTE)
  const fresh = await running('new', 61 * MINUTE)
  const { stuck, truncated } = await query.findStuck()
  expect(
    stuck.map(({ trace, limitMs, historyCount, step }) => [
      trace.traceId,
      limitMs / MINUTE,
      historyCount,
      step?.name,
    ]),
  ).toEqual([
    [quick, 20, 20, 'wait'],
    [fresh, 60, 0, undefined],
    [slow, 99, 100, 'wait'],
  ])
  expect(stuck[0]?.step?.timestamp).toEqual(new Date(now - 40 * MINUTE + 2_000))
  expect(stuck[0]?.runningMs).toBeGreaterThanOrEqual(40 * MINUTE)
  expect(truncated).toBe(false)
  expect(await query.findStuck({ limit: 2 })).toMatchObject({ stuck: [{}, {}], truncated: true })
  const half = await query.findStuck({ skill: 'slow', quantile: 0.5 })
  expect(half.stuck.map(({ limitMs }) => limitMs / MINUTE)).toEqual([50, 50])
  expect((await query.findStuck({ skill: 'new', fallbackMs: MINUTE })).stuck).toHaveLength(2)
  await expect(query.findStuck({ quantile: 1 })).rejects.toThrow('quantile must be between 0 and 1')
})

test('where a week that is over has more than the newest 500 runs, all of them say how long a run takes, timeouts left out', async () => {
  const day = 24 * 60 * MINUTE
  const midnight = Math.floor(now / day) * day
  /** Ended so many days before today. */
  const past = async (count: number, status: 's' | 'f' | 't', daysAgo: number, minutes: number) => {
    const deltas = Array.from({ length: count }, (_, i): Delta => {
      const traceId = newTraceId(midnight - daysAgo * day + i)
      return { t: traceId, b: 1, k: 'busy', e: [status, minutes * MINUTE, minutes * MINUTE], n: [0, 0] }
    })
    await writer.write(
      deltas.map((delta, i) => ({
        traceId: delta.t,
        startedAtMs: midnight - daysAgo * day + i,
        said: [{ producer: '', delta }],
        known: false,
      })),
    )
  }
  const limitOf = async (): Promise<[minutes: number, historyCount: number]> => {
    const { stuck } = await query.findStuck({ skill: 'busy' })
    expect(stuck.map(({ trace }) => trace.traceId)).toEqual([hanging])
    const [one] = stuck as [(typeof stuck)[0]]
    return [one.limitMs / MINUTE, one.historyCount]
  }
  const hanging = await running('busy', 300 * MINUTE)
  // Beyond the week; then a slow run in fifty; timeouts, all longer; and the newest 500, all quick.
  await past(600, 's', 9, 200)
  await past(20, 'f', 5, 60)
  await past(480, 's', 4, 10)
  await past(100, 't', 3, 120)
  await past(500, 's', 1, 10)
  // Nothing is rolled up: what is newest, this one among them.
  expect(await limitOf()).toEqual([10, 499])
  await rebuildRollups(opened)
  const [minutes, count] = await limitOf()
  expect(count).toBe(1_000)
  expect(Math.abs(minutes - 60)).toBeLessThanOrEqual(0.6)
  // Written to since, the day of the slow ones says nothing; of the others there are enough.
  await past(1, 's', 5, 60)
  expect((await limitOf()).map(Math.round)).toEqual([10, 980])
  // Of the rest there are not.
  await past(1, 's', 4, 60)
  expect(await limitOf()).toEqual([10, 499])
})

test('however long a run may take: nothing hangs', async () => {
  await running('build', MINUTE)
  for (const fallbackMs of [1e14, 1e300, Number.MAX_VALUE])
    expect(await query.findStuck({ fallbackMs })).toEqual({ stuck: [], truncated: false })
})
