import { newTraceId, type Step } from '@stepwell/protocol'
import { TraceStorage } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'

// At noon of three days of which the third is half over when they are asked for.
const NOON_MS = Date.UTC(2026, 10, 9, 12)
const DAY_MS = 86_400_000
let database: TestDatabase
const run = (...args: string[]) => runCli(args, { DATABASE_URL: database.url, COLUMNS: '' })

beforeAll(async () => {
  database = await createDatabase()
  await using storage = new TraceStorage(database.url)
  for (let i = 0; i < 12; i++) {
    const startedAt = new Date(NOON_MS + (i % 3) * DAY_MS + i)
    const step = (
      id: number,
      name: string,
      durationMs: number,
      status: Step['status'] = 'success',
    ): Step => ({
      id,
      name,
      timestamp: startedAt,
      durationMs,
      status,
    })
    const fails = i % 4 === 0
    await storage.finalizeTrace(
      {
        traceId: newTraceId(startedAt.getTime()),
        skillName: i === 11 ? 'deploy' : 'build',
        startedAt,
        totalDurationMs: 1_000,
        steps: [step(1, 'load', 100), step(2, 'compile', 800, fails ? 'failed' : 'success')],
      },
      fails ? 'failed' : 'success',
    )
  }
})
afterAll(() => database.drop())

const window = ['--since', '2026-11-09', '--until', '2026-11-11T12:00:01Z']

test('stats: of all skills, of one, over time; the same after a rebuild', async () => {
  const [all, one, days, json] = await Promise.all([
    run('stats', ...window),
    run('stats', 'build', ...window),
    run('stats', 'build', ...window, '--bucket', 'day'),
    run('stats', ...window, '--bucket', '12h', '--limit', '1', '--json'),
  ])
  expect(all.stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 7))).toEqual([
    ['SKILL', 'RUNS', 'FAILED', 'TIMEOUT', 'RUNNING', 'FAIL %', 'RATE'],
    ['build', '11', '3', '–', '–', '27.3', '4.4/d'],
    ['deploy', '1', '–', '–', '–', '0', '0.4/d'],
    ['all', '12', '3', '–', '–', '25.0', '4.8/d'],
    [''],
  ])
  expect(one.stdout.split('\n')).toHaveLength(3)
  expect(days.stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 3))).toEqual([
    ['FROM (UTC)', 'RUNS', 'FAILED'],
    ['2026-11-09 00:00', '4', '1'],
    ['2026-11-10 00:00', '4', '1'],
    ['2026-11-11 00:00', '3', '1'],
    ['all', '11', '3'],
    [''],
  ])
  const document = JSON.parse(json.stdout)
  expect(document).toMatchObject({
    since: '2026-11-09T00:00:00.000Z',
    until: '2026-11-11T12:00:01.000Z',
    total: { trace_count: 12, success_count: 9, failed_count: 3, failure_rate: 0.25, max_duration_ms: 1_000 },
    skills: [{ skill_name: 'build', trace_count: 11 }],
    truncated: true,
  })
  expect(Math.abs(document.total.p95_duration_ms - 1_000)).toBeLessThanOrEqual(10)
  expect(document.buckets.map((bucket: { trace_count: number }) => bucket.trace_count)).toEqual([
    0, 4, 0, 4, 0, 4,
  ])

  expect(await run('rebuild-stats')).toEqual({ code: 0, stdout: 'rolled up 12 traces\n', stderr: '' })
  expect((await run('rebuild-stats', '--resume')).stdout).toBe('rolled up 0 traces\n')
  expect(
    JSON.parse((await run('stats', ...window, '--bucket', '12h', '--limit', '1', '--json')).stdout),
  ).toEqual(document)
})

test('steps: which take the time, and which fail', async () => {
  const [table, json] = await Promise.all([
    run('steps', 'build', ...window),
    run('steps', 'build', ...window, '--bucket', 'day', '--json'),
  ])
  expect(table.stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 5))).toEqual([
    ['STEP', 'COUNT', '% OF TIME', '% OF FAILURES', 'FAILED'],
    ['compile', '11', '80.0', '100.0', '3'],
    ['load', '11', '10.0', '0', '–'],
    [''],
  ])
  expect(table.stderr).toBe('of 11 runs, 3 of which failed or timed out, p95 993 ms\n')
  const { steps } = JSON.parse(json.stdout)
  expect(steps[0]).toMatchObject({
    step_name: 'compile',
    step_count: 11,
    trace_count: 11,
    failed_count: 3,
    time_share: 0.8,
    failure_share: 1,
    total_duration_ms: 8_800,
    buckets: [{ step_count: 4 }, { step_count: 4 }, { step_count: 3 }],
  })
})

test('on a narrow terminal times are whole: other columns go', async () => {
  const { stdout } = await runCli(['stats', 'build', ...window, '--bucket', 'day'], {
    DATABASE_URL: database.url,
    COLUMNS: '40',
  })
  expect(stdout.split('\n').map((line) => line.split(/ {2,}/)[0])).toEqual([
    'FROM (UTC)',
    '2026-11-09 00:00',
    '2026-11-10 00:00',
    '2026-11-11 00:00',
    'all',
    '',
  ])
})

test('says what cannot be asked, and that there is nothing', async () => {
  const answers = await Promise.all([
    run('stats', '--bucket', '90s'),
    run('stats', '--bucket', 'minute', '--since', '2w'),
    run('stats', '--since', '2030-01-01'),
    run('steps', 'none'),
  ])
  expect(answers.map(({ code }) => code)).toEqual([2, 2, 2, 0])
  expect(answers[0]?.stderr).toContain('whole minutes')
  expect(answers[1]?.stderr).toMatch(/2016\d pieces, and 2000 are the most/)
  expect(answers[3]?.stderr).toBe("'none' has not run in this time: --since 30d looks further back\n")
})

test('where retention has removed runs of the window, it is said', async () => {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query(
    `insert into execution_retention (month, removed, looked_for, looked_at)
     values ('2026-10-01', 2, '', now()), ('2026-11-01', 1234, '', now()), ('2026-12-01', 0, '', now())`,
  )
  await client.end()
  const note = 'retention has removed 1,234 runs of 2026-11: counts and rates are of what is left'
  expect((await run('stats', ...window)).stderr).toContain(note)
  expect((await run('steps', 'build', ...window)).stderr).toContain(note)
  const { removed } = JSON.parse((await run('stats', ...window, '--json')).stdout)
  expect(removed).toEqual([{ month: '2026-11', removed_count: 1_234 }])
  const before = await run('stats', '--since', '2026-10-31T23:59:59Z', '--until', '2026-12-01')
  expect(before.stderr).toContain('1,236 runs of 2026-10, 2026-11:')
})
