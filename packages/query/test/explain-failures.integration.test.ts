import { monthOf } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { ensurePartitions, openDatabase } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'

let database: TestDatabase
let pool: pg.Pool
let query: TraceQuery

const HOUR_MS = 3_600_000
const until = new Date(Math.floor(Date.now() / 1_000) * 1_000)
const since = new Date(until.getTime() - 10 * HOUR_MS)
const window = { since, until }

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  query = new TraceQuery(pool)
  await ensurePartitions(openDatabase(pool), [monthOf(since.getTime())])
  await make('planted', { count: 6_000, failing: 'h(i, 1) < 0.1', cause: true })
  await make('chance', { count: 6_000, failing: 'h(i, 1) < 0.1' })
  // All that fails does so within a minute; there are other skills than this one.
  await make('burst', { count: 3_000, failing: 'i between 1000 and 1300' })
  await make('few', { count: 300, failing: 'i % 20 = 0' })
  await make('broken', { count: 3_000, failing: 'true' })
  await pool.query('analyze execution_traces')
})
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

/**
 * Runs evenly over the window. What they are like follows from hashes: nothing knows how a run ends, unless there is to be a cause; then
 * nine of ten failing runs are of one branch, and their step `load` takes four times as long.
 */
async function make(
  skill: string,
  { count, failing, cause = false }: { count: number; failing: string; cause?: boolean },
): Promise<void> {
  // A number from 0 to 1 that follows from two.
  const h = (i: string, n: string): string => `((hashint4extended((${i})::int4, ${n}) & 1048575) / 1048576.0)`
  await pool.query(
    `insert into execution_traces (trace_id, started_at, skill_name, status, step_count, metadata, steps)
     select gen_random_uuid(), $1::timestamptz + i * $2::float8 / $3 * interval '1 millisecond', $4, case when bad then 'failed' else 'success' end, 2,
            jsonb_build_object('env', case when h(i, 2) < 0.7 then 'prod' else 'dev' end, 'n', (1000 * h(i, 3))::int, 'id', 'run-' || i,
              'git', jsonb_build_object('branch', case when bad and $5 and h(i, 4) < 0.9 then 'feature' else (array['main', 'dev', 'fix', 'feature'])[1 + (4 * h(i, 5))::int % 4] end)),
            json_build_array(json_build_array(1, 'load', 0, (case when bad and $5 then 4 else 1 end) * exp(6 * h(i, 6))),
                             json_build_array(2, case when h(i, 7) < 0.3 then 'retry' else 'go' end, 5, exp(6 * h(i, 8))))
       from (select i, ${failing} as bad from generate_series(0, $3::int - 1) i) runs`.replaceAll(
      /\bh\(i, (\d)\)/g,
      (_, n) => h('i', n),
    ),
    [since, until.getTime() - since.getTime(), count, skill, cause],
  )
}

test('planted causes are found, the strongest first, with their counts; of how many runs how many were looked at', async () => {
  const report = await query.explainFailures({ skill: 'planted', ...window, sample: 400 })
  const { rows } = await pool.query(
    `select count(*) filter (where status = 'failed')::int as failing, count(*) filter (where status = 'success')::int as good
       from execution_traces where skill_name = 'planted'`,
  )
  expect(report.failing).toEqual({
    ...window,
    looked: expect.any(Number),
    of: rows[0].failing,
    ofTruncated: false,
  })
  expect(report.good).toEqual({ ...window, looked: expect.any(Number), of: rows[0].good, ofTruncated: false })
  for (const { looked } of [report.failing, report.good]) {
    expect(looked).toBeGreaterThan(390)
    expect(looked).toBeLessThanOrEqual(400)
  }
  expect(report.findings.slice(0, 2)).toMatchObject([
    { kind: 'metadata', path: ['git', 'branch'], value: 'feature', failing: { of: report.failing.looked } },
    { kind: 'step_duration', stepName: 'load' },
  ])
  expect(report.findings[0]).toHaveProperty('lift', expect.closeTo(0.925 / 0.25, 0))
  expect(report.findings[1]).toHaveProperty('superiority', expect.closeTo(0.75, 0))
  expect(report.findings.length).toBeLessThan(4)
  const first = await query.explainFailures({ skill: 'planted', ...window, sample: 400, limit: 1 })
  expect(first).toMatchObject({ findingsTruncated: true, findings: [report.findings[0]] })
})

test('where nothing sets failing runs apart, nothing is found', async () => {
  const { findings, testCount } = await query.explainFailures({ skill: 'chance', ...window })
  expect(testCount).toBeGreaterThan(5)
  expect(findings).toEqual([])
})

test('few runs are looked at all; of a burst as many as of runs all over the window', async () => {
  const few = await query.explainFailures({ skill: 'few', ...window })
  expect([few.failing, few.good]).toMatchObject([
    { looked: 15, of: 15 },
    { looked: 285, of: 285 },
  ])
  const burst = await query.explainFailures({ skill: 'burst', ...window, sample: 200 })
  expect(burst.failing).toMatchObject({ looked: expect.any(Number), of: 301 })
  expect(burst.failing.looked).toBeGreaterThan(180)
})

test('a step that runs several times in a run took what all of them took, whatever steps other runs have', async () => {
  const steps = {
    failed: '[[1,"poll",0,10],[2,"poll",10,10.5],[3,"wait",21],[4,"poll",22,10],[5,"wait",33,4]]',
    success: '[[1,"poll",0,10],[2,"wait",21,4]]',
  }
  await pool.query(
    `insert into execution_traces (trace_id, started_at, skill_name, status, step_count, steps)
     select gen_random_uuid(), $1::timestamptz + i * interval '1 second', 'looping', status, 2, case status when 'failed' then $2 else $3 end::json
       from generate_series(1, 60) i cross join lateral (select case when i % 3 = 0 then 'failed' else 'success' end as status) as ended`,
    [since, steps.failed, steps.success],
  )
  const { findings, testCount } = await query.explainFailures({ skill: 'looping', ...window })
  expect(findings).toMatchObject([
    {
      kind: 'step_duration',
      stepName: 'poll',
      failing: { median: 30.5, of: 20 },
      good: { median: 10, of: 40 },
    },
  ])
  // Both steps are in all runs, and `wait` takes the same in all.
  expect(testCount).toBe(2)
})

test('another time as the baseline, all skills together, and nothing to compare with', async () => {
  const half = new Date(since.getTime() + 5 * HOUR_MS)
  const report = await query.explainFailures({
    skill: 'planted',
    since: half,
    until,
    baseline: { since, until: half },
  })
  expect(report.good).toMatchObject({ since, until: half })
  expect(report.findings[0]).toMatchObject({ kind: 'metadata', value: 'feature' })
  const all = await query.explainFailures({ ...window, sample: 1_000 })
  expect(all.findings).toContainEqual(expect.objectContaining({ kind: 'skill', skillName: 'broken' }))
  const broken = await query.explainFailures({ skill: 'broken', ...window, sample: 100 })
  expect(broken).toMatchObject({ good: { looked: 0, of: 0 }, findings: [] })
  expect(await query.explainFailures({ skill: 'nobody', ...window })).toMatchObject({
    failing: { looked: 0, of: 0 },
  })
})

test.each([
  [{ sample: 9 }, 'sample must be a whole number from 10 to 10000'],
  [{ since: until, until: since }, 'since must not be after until'],
  [{ baseline: { since: until, until: since } }, 'since must not be after until'],
  [{ rate: 2 }, 'rate must be from 0 to 1'],
])('%o is refused', async (options, message) => {
  await expect(query.explainFailures(options)).rejects.toThrow(message)
})
