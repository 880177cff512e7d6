import { type Delta, newTraceId, type StepTuple, type TraceStatus } from '@stepwell/protocol'
import { type RunStatistics, TraceQuery } from '@stepwell/query'
import {
  applyRetention,
  type Database,
  dropPartitionsBefore,
  openDatabase,
  parseRetentionRules,
  rebuildFailures,
  rebuildRollups,
  refreshRollups,
  TraceGoneError,
  TraceStorage,
  TraceWriter,
} from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seededRandom } from './faults/seeded-random.ts'
import { writeOverviewsAsBefore } from './overviews-as-before.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const SKILLS = ['build', 'deploy', 'ß "q"', 'rare']
const MESSAGES = ['timeout of 5 ms', 'timeout of 7 ms', 'connection refused', 'disk is full', '']
/** Of the last there are few. */
const STEPS = ['load', 'act', 'ß', 'undo']
const SEED = 20_261_126

let database: TestDatabase
let opened: Database
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  opened = openDatabase(database.url)
  query = new TraceQuery(database.url)
})
afterAll(async () => {
  await query.close()
  await opened.close()
  await database.drop()
})

interface StoredTrace {
  trace_id: string
  skill_name: string
  status: TraceStatus
  started_at: Date
  total_duration_ms: number | null
  failure_pattern: string | null
  steps: StepTuple[]
}

/** Nearest rank. */
function exact(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1] as number
}

/** What was told of some runs, or steps, against all of them: counts to the last one, quantiles within 1 %. */
function expectStatistics(
  told: RunStatistics,
  all: readonly { status: TraceStatus; ms: number | null }[],
): void {
  const count = (status: TraceStatus): number => all.filter((one) => one.status === status).length
  const ended = all.length - count('running')
  expect(told).toMatchObject({
    successCount: count('success'),
    failedCount: count('failed'),
    timeoutCount: count('timeout'),
    runningCount: count('running'),
  })
  expect(told.failureRate).toBe(ended === 0 ? undefined : (ended - count('success')) / ended)
  const durations = all.flatMap(({ ms }) => (ms === null ? [] : [ms]))
  expect(told.p50DurationMs === undefined).toBe(durations.length === 0)
  if (durations.length === 0) return
  for (const [name, share] of [
    ['p50DurationMs', 0.5],
    ['p90DurationMs', 0.9],
    ['p95DurationMs', 0.95],
    ['p99DurationMs', 0.99],
  ] as const) {
    const wanted = exact(durations, share)
    expect(Math.abs((told[name] as number) - wanted)).toBeLessThanOrEqual(0.01 * wanted)
  }
  expect(told.maxDurationMs).toBe(Math.max(...durations))
  const sum = durations.reduce((a, b) => a + b, 0)
  expect(told.meanDurationMs).toBeCloseTo(sum / durations.length, 2)
}

const runOf = ({ status, total_duration_ms: ms }: StoredTrace) => ({ status, ms })
const stepsOf = (traces: readonly StoredTrace[], name: string) =>
  traces.flatMap(({ steps }) =>
    steps
      .filter((step) => step[1] === name)
      .map(([, , , ms, status]) => ({
        status:
          ms == null
            ? ('running' as const)
            : ((['success', 'failed', 'timeout'] as const)[status ?? 0] ?? 'failed'),
        ms: ms ?? null,
      })),
  )

/** Asks for a window in one way after the other, and counts the traces in it one by one. */
async function expectTruth(
  sinceMs: number,
  untilMs: number,
  bucket: 'minute' | 'hour' | 'day' | number,
): Promise<void> {
  const { rows } = await opened.pool.query<StoredTrace>(
    `select trace_id, skill_name, status, started_at, total_duration_ms, failure_pattern, steps from execution_traces
      where started_at >= $1 and started_at <= $2 order by started_at desc, trace_id desc`,
    [new Date(sinceMs), new Date(untilMs)],
  )
  const window = { since: sinceMs, until: untilMs }
  const all = await query.skillStats({ ...window, bucket })
  expect(all.total.traceCount).toBe(rows.length)
  expectStatistics(all.total, rows.map(runOf))
  expect(all.skills.reduce((sum, { traceCount }) => sum + traceCount, 0)).toBe(rows.length)
  for (const skill of all.skills)
    expectStatistics(skill, rows.filter((row) => row.skill_name === skill.skillName).map(runOf))
  const buckets = all.buckets ?? []
  expect([buckets[0]?.start, buckets.at(-1)?.end]).toEqual([new Date(sinceMs), new Date(untilMs + 1)])
  for (const { start, end, ...told } of buckets)
    expectStatistics(told, rows.filter(({ started_at: at }) => at >= start && at < end).map(runOf))

  // Put together from other parts, it is the same to the last digit. Only that time has gone on since.
  const uncut = await query.skillStats(window)
  const lasting = ({ total, skills }: typeof all) =>
    [total, ...skills].map((numbers) => ({ ...numbers, perSecond: 0 }))
  expect(lasting(uncut)).toEqual(lasting(all))

  const failures = rows.filter(({ failure_pattern: pattern }) => pattern !== null)
  const groups = Map.groupBy(failures, ({ failure_pattern: pattern }) => pattern)
  const told = await query.listFailureGroups({ ...window, limit: 100 })
  expect(told.failureCount).toBe(failures.length)
  expect(new Map(told.groups.map(({ groupId, count, lastSeen }) => [groupId, [count, lastSeen]]))).toEqual(
    new Map(
      [...groups].map(([pattern, list]) => [
        BigInt.asUintN(64, BigInt(pattern as string))
          .toString(16)
          .padStart(16, '0'),
        [list.length, new Date(Math.max(...list.map(({ started_at: at }) => at.getTime())))],
      ]),
    ),
  )
  const [first] = told.groups
  if (first !== undefined)
    expect((await query.getFailureGroup(first.groupId, window))?.share).toBe(first.count / failures.length)

  // Steps are searched where rollups know that there are such: for so many that to look at the newest is not enough.
  for (const stepName of STEPS.slice(-3))
    for (const of of [{}, { skill: SKILLS[0] as string }]) {
      const having = rows.filter(
        (row) =>
          (of.skill ?? row.skill_name) === row.skill_name && row.steps.some((step) => step[1] === stepName),
      )
      const found: string[] = []
      for await (const { traceId } of query.findTraces({ ...window, ...of, stepName, limit: 1_000 }))
        found.push(traceId)
      expect(found).toEqual(having.map(({ trace_id }) => trace_id))
    }

  const own = rows.filter((row) => row.skill_name === SKILLS[0])
  const one = await query.skillStats({ ...window, skill: SKILLS[0] as string })
  expectStatistics(one.total, own.map(runOf))
  const steps = await query.stepStats({ ...window, skill: SKILLS[0] as string, bucket })
  expectStatistics(steps.total, own.map(runOf))
  expect(steps.steps.map(({ stepName }) => stepName).sort()).toEqual(
    [...new Set(own.flatMap((row) => row.steps.map((step) => step[1])))].sort(),
  )
  const total = own.reduce((sum, row) => sum + (row.total_duration_ms ?? 0), 0)
  const failed = own.filter(({ status }) => status === 'failed' || status === 'timeout')
  for (const step of steps.steps) {
    expectStatistics(step, stepsOf(own, step.stepName))
    expect(step.traceCount).toBe(own.filter((row) => row.steps.some((s) => s[1] === step.stepName)).length)
    const spent = stepsOf(own, step.stepName).reduce((sum, { ms }) => sum + (ms ?? 0), 0)
    if (total > 0) expect(step.timeShare).toBeCloseTo(spent / total, 6)
    const blamed = failed.filter((row) =>
      stepsOf([row], step.stepName).some(({ status }) => status !== 'success'),
    )
    expect(step.failureShare).toBe(failed.length === 0 ? undefined : blamed.length / failed.length)
    for (const { start, end, ...told } of step.buckets ?? [])
      expectStatistics(
        told,
        stepsOf(
          own.filter(({ started_at: at }) => at >= start && at < end),
          step.stepName,
        ),
      )
  }
}

test('whatever is written, changed, deleted, dropped and rolled up, in whatever order, statistics say what the traces say', async () => {
  const random = seededRandom(SEED)
  const int = (below: number): number => Math.floor(random() * below)
  const pick = <T>(list: readonly T[]): T => list[int(list.length)] as T
  const writer = new TraceWriter(opened)
  const storage = new TraceStorage(opened.pool)
  const startMs = Date.now()
  // The clock of the jobs goes on, so that what is marked becomes due, hours and days end, and minutes are let go.
  let nowMs = startMs
  const retention = { rules: parseRetentionRules('success=2d, build/failed=2d'), keepMonths: 0 }
  const known: Delta[] = []
  const someTime = (): number =>
    Math.floor(startMs - pick([MINUTE, HOUR, DAY, 5 * DAY, 40 * DAY]) * random() - pick([0, 0, DAY]))
  const steps = (): StepTuple[] =>
    Array.from({ length: int(4) }, (_, i) => [
      i + 1,
      random() < 0.02 ? 'undo' : pick(STEPS.slice(0, -1)),
      i,
      pick([null, int(5_000), int(1_000) / 1_000]),
      int(3),
    ]) as StepTuple[]
  const write = async (deltas: readonly Delta[]): Promise<void> => {
    const traces = deltas.map((delta) => ({
      traceId: delta.t,
      startedAtMs: Number.parseInt(delta.t.slice(0, 8) + delta.t.slice(9, 13), 16),
      said: [{ producer: '', delta }],
      known: random() < 0.5,
    }))
    const ifNotGone = (error: unknown): void => {
      if (!(error instanceof TraceGoneError)) throw error
    }
    // As workers do: what cannot be stored holds up nothing else.
    await writer.write(traces).catch(async (error) => {
      ifNotGone(error)
      for (const trace of traces) await writer.write([trace]).catch(ifNotGone)
    })
  }
  const doing: Record<string, () => Promise<unknown>> = {
    write: async () => {
      const deltas = Array.from({ length: 40 }, (): Delta => {
        const delta: Delta = { t: newTraceId(someTime()), b: 1, k: pick(SKILLS), s: steps(), n: [3, 3] }
        return random() < 0.3
          ? delta
          : {
              ...delta,
              e: [
                pick(['s', 'f', 'f', 't'] as const),
                int(9_000),
                int(9_000_000) / 1_000,
                ...(random() < 0.8 ? [pick(MESSAGES)] : []),
              ] as never,
            }
      })
      known.push(...deltas)
      await write(deltas)
    },
    // An end that comes later, another skill (the greater name wins), more steps.
    change: () =>
      write(
        [
          ...new Map(Array.from({ length: 10 }, () => pick(known)).map((delta) => [delta.t, delta])).values(),
        ].map(({ t }) => ({
          t,
          b: 1,
          k: pick(SKILLS),
          s: steps(),
          n: [3, 3],
          e: ['f', 10_000, int(20_000)],
        })),
      ),
    delete: () => Promise.all([1, 2, 3, 4].map(() => storage.deleteTrace(pick(known).t))),
    refresh: () => refreshRollups(opened, { nowMs }),
    // Broken off at once: as when time is up.
    begin: () => refreshRollups(opened, { nowMs, budgetMs: -1 }),
    later: async () => {
      nowMs += pick([10_000, 15 * MINUTE, HOUR, DAY])
    },
    rebuild: () => rebuildRollups(opened),
    // A worker of a version before does not count failures, notes no steps, and writes overviews as bytes.
    forget: async () => {
      await writeOverviewsAsBefore(opened, int(3))
      const isSome = 'where width_s > 60 and extract(epoch from bucket)::integer / width_s % 3 = $1'
      const some = [int(3)]
      await opened.pool.query(
        `update execution_rollup_overviews
            set failure_patterns = null, failure_counts = null, failures_last = null, has_step_keys = null ${isSome}`,
        some,
      )
      await opened.pool.query(`update execution_rollups set step_keys = null ${isSome}`, some)
    },
    drop: () => dropPartitionsBefore(opened, startMs - 35 * DAY),
    // A month is written anew while others write to it, and roll it up.
    retain: () =>
      applyRetention(opened, retention, {
        nowMs: startMs,
        again: true,
        minShare: 0,
        onStage: () => doing[pick(['write', 'change', 'delete', 'refresh', 'begin'])]?.(),
      }),
  }
  for (let i = 0; i < 12; i++) await doing.write?.()
  const often = [
    'write',
    'write',
    'change',
    'change',
    'delete',
    'refresh',
    'refresh',
    'begin',
    'later',
    'later',
    'forget',
  ]
  for (let round = 0; round < 40; round++) {
    const what = random() < 0.15 ? pick(['rebuild', 'drop', 'retain']) : pick(often)
    await doing[what]?.()
    const sinceMs = pick([startMs - 45 * DAY, someTime(), Math.floor(someTime() / DAY) * DAY])
    const untilMs = Math.max(
      sinceMs,
      pick([startMs + DAY, someTime(), Math.floor(someTime() / HOUR) * HOUR - 1]),
    )
    const long = untilMs - sinceMs > DAY
    await expectTruth(
      sinceMs,
      untilMs,
      long ? pick(['hour', 'day', 6 * HOUR]) : pick(['minute', 'hour', 15 * MINUTE]),
    ).catch((error: Error) => {
      throw new Error(`seed ${SEED}, round ${round}, after ${what}: ${error.message}`, { cause: error })
    })
  }
})

test('failures that get another pattern count for that at once', async () => {
  const own = await createDatabase()
  const database = openDatabase(own.url)
  await using query = new TraceQuery(own.url)
  await using storage = new TraceStorage(own.url)
  // In a week that is over.
  const weekMs = Math.floor(Date.now() / (7 * DAY)) * 7 * DAY - 7 * DAY
  const ids = [0, 1, 2, 6.99].map((days) => newTraceId(weekMs + days * DAY))
  for (const [i, days] of [0, 1, 2, 6.99].entries())
    await storage.finalizeTrace(
      {
        traceId: ids[i] as string,
        skillName: 'build',
        startedAt: new Date(weekMs + days * DAY),
        completedAt: new Date(),
        errorMessage: 'disk is full',
        steps: [],
      },
      'failed',
    )
  // As a version before would have it.
  await database.pool.query(
    `insert into failure_patterns (pattern_id, group_id, first_seen, seen_until, pattern_version, pattern)
     select 7, 7, first_seen, seen_until, 0, 'disk' from failure_patterns`,
  )
  await database.pool.query('update execution_traces set failure_pattern = 7')
  await rebuildRollups(database)
  const patterns = async () =>
    (await query.listFailureGroups()).groups.map(({ pattern, count }) => [pattern, count])
  expect(await patterns()).toEqual([['disk', 4]])
  await rebuildFailures(database)
  expect(await patterns()).toEqual([['disk is full', 4]])
  // What a worker of a version before rolled up is not counted; another day of its week is.
  await refreshRollups(database, { nowMs: Date.now() + HOUR })
  await database.pool.query(
    'update execution_rollup_overviews set failure_patterns = null where width_s = 86400',
  )
  await storage.deleteTrace(ids[2] as string)
  await refreshRollups(database, { nowMs: Date.now() + HOUR })
  expect(await patterns()).toEqual([['disk is full', 3]])
  await database.close()
  await own.drop()
})

test('where nothing is rolled up, all traces are counted, also more than are read at once', async () => {
  const own = await createDatabase()
  const database = openDatabase(own.url)
  await using query = new TraceQuery(own.url)
  await database.pool.query(`update execution_rollup_state set rolled_from = now() + interval '3 days'`)
  const count = 2_001
  await database.pool.query(
    `insert into execution_traces (trace_id, started_at, skill_name, status, total_duration_ms, steps)
     select gen_random_uuid(), now() - interval '1 second', 'build', 'success', i, '[[1,"load",0,1]]'
       from generate_series(1, $1) i`,
    [count],
  )
  const { total } = await query.skillStats()
  expect(total).toMatchObject({ traceCount: count, maxDurationMs: count })
  const { steps } = await query.stepStats({ skill: 'build' })
  expect(steps).toMatchObject([{ stepName: 'load', stepCount: count }])
  await database.close()
  await own.drop()
})
