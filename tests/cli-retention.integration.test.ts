import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addMonths, monthBounds, monthOf, newTraceId, partitionName } from '@stepwell/protocol'
import { openDatabase, TraceStorage } from '@stepwell/storage'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { allRows, fillMonth } from '../packages/storage/test/month-of-traces.ts'
import { type CliBench, type Document, makeCliBench } from './cli-bench.ts'

// Four months ago all of a month is older than 90 days, two months ago it is older than 7.
const now = monthOf(Date.now())
const [older, old] = [addMonths(now, -5), addMonths(now, -2)]
const text = (month: { year: number; month: number }): string =>
  new Date(monthBounds(month).fromMs).toISOString().slice(0, 7)
const KEEP = ['--keep', 'success=7d', '--keep', 'failed=90d']
let bench: CliBench
let folder: string

beforeAll(async () => {
  bench = await makeCliBench()
  folder = await mkdtemp(join(tmpdir(), 'stepwell-removed-'))
  const database = openDatabase(bench.database.url)
  await fillMonth(database, older, { count: 40, skills: ['build'], statuses: ['success', 'failed'] })
  await fillMonth(database, old, {
    count: 60,
    skills: ['build', 'deploy'],
    statuses: ['success', 'failed', 'running'],
  })
  await database.close()
})
afterAll(async () => {
  await bench[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

test('a plan shows what goes and what stays, and changes nothing', async () => {
  const plan = await bench.json('retention', 'plan', ...KEEP)
  const found = plan.months.filter(({ month }: Document) => month <= text(old))
  expect(found).toMatchObject([
    {
      month: text(older),
      action: 'drop',
      removed_traces: 40,
      classes: [
        { class: 'failed', traces: 20, goes: true },
        { class: 'success', traces: 20, goes: true },
      ],
    },
    {
      month: text(old),
      action: 'rewrite',
      traces: 60,
      removed_traces: 20,
      classes: [
        { class: 'running', traces: 20, goes: false },
        { class: 'failed', traces: 20, goes: false },
        { class: 'success', traces: 20, goes: true },
      ],
    },
  ])
  const { stdout } = await bench.stepwell(['retention', 'plan', ...KEEP])
  expect(stdout).toMatch(new RegExp(`^${text(older)} +failed +20 +[\\d.]+ KiB +goes$`, 'm'))
  expect(stdout).toMatch(/^ +failed +20 +[\d.]+ KiB +stays until \d{4}-\d\d-\d\d$/m)
  expect(stdout).toMatch(/would remove 60 traces, about [\d.]+ KiB: 1 month dropped, 1 month rewritten\n$/)
  expect(await bench.stepwell(['retention', 'plan'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('say what is kept for how long'),
  })
})

test('what goes is exported before; import brings it back as it was', async () => {
  const database = openDatabase(bench.database.url)
  // Beside the plain ones: a whole trace with all that it can have.
  const startedAt = new Date(monthBounds(old).fromMs + 12_345)
  await using storage = new TraceStorage(database.pool)
  await storage.finalizeTrace(
    {
      traceId: newTraceId(startedAt.getTime()),
      skillName: 'rich',
      executionId: 'e-1',
      startedAt,
      metadata: { a: [1, { b: 'ü' }] },
      steps: [{ name: 'x', durationMs: 1.5, status: 'failed', errorMessage: 'no', attributes: { n: 1 } }],
    },
    'success',
  )
  const before = await allRows(database)
  const applied = await bench.json('retention', 'apply', ...KEEP, '--export', folder)
  expect(applied.months).toMatchObject([
    { month: text(older), action: 'dropped', removed_traces: 40, kept_traces: 0 },
    { month: text(old), action: 'rewritten', removed_traces: 21, kept_traces: 40 },
  ])
  const after = await allRows(database)
  expect(after.size).toBe(before.size - 61)
  for (const [id, row] of after) expect(row).toEqual(before.get(id))
  const files = (await readdir(folder)).sort()
  expect(files.map((name) => name.slice(0, 7))).toEqual([text(older), text(old)])
  const lines = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))
  expect(lines.map((one) => one.trim().split('\n').length)).toEqual([40, 21])
  for (const name of files)
    expect(await bench.stepwell(['import', join(folder, name)])).toMatchObject({ code: 0 })
  const back = await allRows(database)
  // When it was stored and how often is not of the trace; what it is found by follows from it, and was not filled in here.
  const found = { metadata_bits: null, error_signature: null, failure_pattern: null }
  const apart = { ingested_at: null, version: null, ...found }
  const plain = (rows: Map<string, unknown>): Document[] =>
    [...rows].map(([id, row]) => [id, { ...(row as object), ...apart }]).sort()
  expect(plain(back)).toEqual(plain(before))
  await database.close()
})

test('killed in the middle of a month, nothing has changed, and the next call ends it', async () => {
  const pool = new pg.Pool({ connectionString: bench.database.url })
  pool.on('error', () => {})
  const count = async (): Promise<number> => (await pool.query('select from execution_traces')).rowCount ?? 0
  const before = await count()
  const reader = await pool.connect()
  // In the way of the swap, and of nothing else.
  await reader.query('begin; select from execution_traces limit 1')
  await using killed = spawnProcess(
    new URL('../apps/cli/src/main.ts', import.meta.url),
    ['retention', 'apply', ...KEEP, '--month', text(old)],
    { DATABASE_URL: bench.database.url },
  )
  await waitFor(
    async () =>
      (
        await pool.query(
          "select from pg_stat_activity where query like '%access exclusive mode' and datname = current_database()",
        )
      ).rowCount,
    { what: 'the swap waits' },
  )
  await killed.kill('SIGKILL')
  await reader.query('commit')
  reader.release()
  expect(await count()).toBe(before)
  const twins = async (): Promise<string[]> =>
    (
      await pool.query(
        "select relname as name from pg_class where relkind = 'r' and relname like 'execution%rewrite'",
      )
    ).rows.map(({ name }) => name)
  expect(await twins()).toEqual([`${partitionName(old)}_rewrite`])
  // Its connections go when the server sees that nobody is there.
  const again = await waitFor(
    async () => {
      const end = await bench.stepwell(['retention', 'apply', ...KEEP, '--month', text(old)])
      return end.stderr.includes('Somebody else') ? undefined : end
    },
    { what: 'the lock of the dead one is gone' },
  )
  expect(again).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/rewritten: 21 traces removed, 40 kept/),
  })
  expect(await twins()).toEqual([])
  await pool.end()
})
