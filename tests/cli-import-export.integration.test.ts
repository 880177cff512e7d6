import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { redisForFile } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CliBench, makeCliBench } from './cli-bench.ts'

let bench: CliBench
let pool: pg.Pool
let folder: string

beforeAll(async () => {
  // Silence counts soon: what is imported as running must not end by it.
  bench = await makeCliBench({ silenceMs: 1_000 })
  pool = new pg.Pool({ connectionString: bench.database.url, max: 2 })
  pool.on('error', () => {})
  folder = await mkdtemp(join(tmpdir(), 'stepwell-import-'))
})
afterAll(async () => {
  await pool.end()
  await bench[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

const ndjson = (lines: readonly unknown[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('')
const rowCount = async (): Promise<number> =>
  Number((await pool.query('select count(*) n from execution_traces')).rows[0].n)

interface Run {
  [key: string]: unknown
  started_at: string
  skill_name: string
  execution_id?: string
  steps: Record<string, unknown>[]
}

/** Everything that real runs have, and more. */
function oddRuns(): Run[] {
  const at = '2026-08-04T07:43:06.000Z'
  return [
    { skill_name: 'bare', started_at: at, status: 'success', steps: [] },
    {
      skill_name: 'running',
      execution_id: 'r-1',
      started_at: at,
      status: 'running',
      steps: [{ name: 'a', duration_ms: 3, status: 'success' }],
    },
    {
      skill_name: 'every part',
      trace_id: '0198743f-4810-7000-8000-00000000abcd',
      execution_id: 'e-1',
      started_at: new Date(0x0198743f4810).toISOString(),
      completed_at: new Date(0x0198743f4810 + 5_000).toISOString(),
      total_duration_ms: 4_999.125,
      status: 'failed',
      error_message: 'the same as the step says',
      metadata: {
        deep: { list: [1, null, { a: 'ü 🚀' }] },
        'a.b': true,
        password: 'is not ours to judge here',
      },
      parent_trace_id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479',
      parent_step_id: 7,
      root_trace_id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479',
      steps: [
        {
          id: 1,
          name: 'act',
          status: 'success',
          duration_ms: 0,
          timestamp: new Date(0x0198743f4810 - 9_000).toISOString(),
        },
        {
          id: 2,
          name: 'act',
          status: 'failed',
          duration_ms: 0.125,
          error_message: 'the same as the step says',
          parent_id: 1,
        },
        {
          id: 30,
          name: 'act',
          status: 'timeout',
          duration_ms: 99,
          attributes: { 'usage.input_tokens': 812 },
        },
        {
          id: 'B7_x.4',
          name: 'remote',
          status: 'running',
          timestamp: new Date(0x0198743f4810 + 1).toISOString(),
          parent_id: 30,
        },
      ],
    },
    {
      skill_name: 'foreign id',
      trace_id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479',
      started_at: at,
      status: 'timeout',
      steps: [{ id: 'span-a', name: 'x', duration_ms: 1, status: 'success' }],
    },
    {
      skill_name: 'derived',
      started_at: at,
      status: 'failed',
      steps: [{ name: 'x', duration_ms: 1, status: 'failed', error_message: 'boom' }],
    },
    // Longer than a frame: these go in parts.
    ...['success', 'running'].map((status) => ({
      skill_name: `big and ${status}`,
      started_at: at,
      status,
      metadata: { only: 'once' },
      steps: Array.from({ length: 5_000 }, (_, i) => ({
        name: `s${i % 7}`,
        duration_ms: i,
        status: 'success',
        attributes: { note: 'ü'.repeat(100) },
      })),
    })),
    {
      skill_name: 'some lost',
      started_at: at,
      status: 'success',
      missing_steps: 3,
      steps: [{ name: 'x', duration_ms: 1, status: 'success' }],
    },
  ]
}

const key = (run: Run): string => `${run.started_at} ${run.skill_name} ${run.execution_id ?? ''}`

/** A run without what import added: ids that it did not have. */
function asItWas(exported: Run, original: Run): Run {
  const run: Run = {
    ...exported,
    steps: exported.steps.map((step, i) => ({
      ...step,
      ...(original.steps[i]?.id === undefined ? { id: undefined } : {}),
    })),
  }
  if (original.trace_id === undefined) delete run.trace_id
  return JSON.parse(JSON.stringify(run))
}

async function roundTrip(originals: Run[]): Promise<void> {
  const file = join(folder, 'runs.ndjson')
  await writeFile(file, ndjson(originals))
  const imported = await bench.stepwell(['import', file])
  expect(imported).toEqual({
    code: 0,
    stdout: `imported ${originals.length.toLocaleString('en-US')} traces\n`,
    stderr: '',
  })
  const exported = await bench.stepwell(['export'])
  expect(exported.code).toBe(0)
  const back = new Map(
    exported.stdout
      .trim()
      .split('\n')
      .map((line) => [key(JSON.parse(line)), JSON.parse(line) as Run]),
  )
  for (const original of originals)
    expect(asItWas(back.get(key(original)) as Run, original)).toEqual(JSON.parse(JSON.stringify(original)))
  // Twice changes nothing, from a pipe too; nor does what was exported.
  const before = await pool.query('select * from execution_traces order by trace_id')
  expect((await bench.stepwell(['import', '-'], { input: ndjson(originals) })).code).toBe(0)
  expect((await bench.stepwell(['import', '-'], { input: exported.stdout })).code).toBe(0)
  const after = await pool.query('select * from execution_traces order by trace_id')
  expect(after.rows).toEqual(before.rows)
}

test('everything comes back as it went in, and importing it again changes nothing', async () => {
  await roundTrip(oddRuns())
  expect(await bench.json('traces', '--execution', 'r-1')).toMatchObject({ traces: [{ status: 'running' }] })
  await bench.stepwell(['export', '--status', 'success', '--skill', 'bare']).then(({ stdout }) => {
    expect(stdout.trim().split('\n')).toHaveLength(1)
    expect(stdout).not.toMatch(/null|execution_id|completed_at|metadata/)
  })
})

const real = process.env.STEPWELL_REAL_DATA
if (real)
  test('real runs come back as they went in', async () => {
    await roundTrip(
      readFileSync(real, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Run),
    )
  })

test('bad lines are told with number and reason, the rest goes in', async () => {
  const good = { skill_name: 'good', started_at: '2026-01-01T00:00:00Z', status: 'success', steps: [] }
  const before = await rowCount()
  const lines = [
    JSON.stringify({ ...good, execution_id: 'a' }),
    '{"skill_name": "torn',
    '[]',
    '',
    JSON.stringify({ ...good, started_at: 'yesterday' }),
    JSON.stringify({ ...good, started_at: '1969-01-01T00:00:00Z' }),
    JSON.stringify({ ...good, status: 'done' }),
    JSON.stringify({ ...good, skill_name: undefined }),
    JSON.stringify({ ...good, steps: [{ name: 'x', status: 'success' }] }),
    JSON.stringify({
      ...good,
      steps: [
        { id: 1, name: 'x', status: 'success', duration_ms: 1 },
        { id: 1, name: 'y', status: 'success', duration_ms: 1 },
      ],
    }),
    JSON.stringify({ ...good, steps: [{ name: 'x', status: 'success', duration_ms: -1 }] }),
    JSON.stringify({ ...good, trace_id: 'no uuid' }),
    JSON.stringify({ ...good, trace_id: newTraceId(Date.UTC(2026, 5, 1)) }),
    JSON.stringify({ ...good, execution_id: 'b', metadata: { nul: 'a\0b', half: '\ud800' } }),
  ]
  const { code, stdout, stderr } = await bench.stepwell(['import', '-'], {
    input: `\uFEFF${lines.join('\r\n')}`,
  })
  expect(code).toBe(3)
  expect(stdout).toBe('imported 2 traces; 11 lines could not be taken\n')
  const told = stderr.trim().split('\n')
  expect(told.map((line) => Number(/^line (\d+):/.exec(line)?.[1]))).toEqual([
    2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13,
  ])
  for (const [i, reason] of [
    /is no JSON/,
    /must be an object/,
    /started_at 'yesterday' is no time/,
    /2000-01-01/,
    /status must be one of/,
    /skill_name is missing/,
    /steps.0.duration_ms is missing/,
    /steps.1.id '1' is there twice/,
    /steps.0.duration_ms must be 0 or more/,
    /trace_id must be a UUID/,
    /another time/,
  ].entries())
    expect(told[i]).toMatch(reason)
  expect(await rowCount()).toBe(before + 2)
  expect(await bench.stepwell(['import', '-'], { input: 'nonsense\n' })).toMatchObject({
    code: 1,
    stdout: 'imported 0 traces; 1 line could not be taken\n',
  })
  expect(await bench.stepwell(['import', join(folder, 'none')])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no such file/),
  })
})

test('what is over the limits is cut, and told', async () => {
  const line = {
    skill_name: 'cut',
    started_at: '2026-01-02T00:00:00Z',
    status: 'failed',
    error_message: 'e'.repeat(20_000),
    metadata: { big: 'x'.repeat(100_000), small: 1 },
    steps: [{ name: 'x', duration_ms: 1, status: 'success', attributes: { big: 'x'.repeat(100_000) } }],
  }
  const small = { ...line, started_at: '2026-01-03T00:00:00Z', error_message: 'e', metadata: {}, steps: [] }
  const end = await bench.stepwell(['import', '-'], { input: ndjson([line, small]) })
  expect(end).toMatchObject({
    code: 0,
    stdout: 'imported 2 traces\n',
    stderr: expect.stringMatching(/^1 trace had .*cut/),
  })
  const { traces } = await bench.json('traces', '--skill', 'cut', '--until', '2026-01-02T12:00:00Z')
  expect(traces[0].metadata).toMatchObject({ small: 1, 'stepwell.truncated': expect.any(Number) })
})

test('without a worker it says so, and gives up after the time that was given', async () => {
  const elsewhere = await redisForFile()
  const input = ndjson([
    { skill_name: 'x', started_at: '2026-01-01T00:00:00Z', status: 'success', steps: [] },
  ])
  const { code, stderr } = await bench.stepwell(['import', '-', '--timeout', '300ms'], {
    input,
    env: { REDIS_URL: elsewhere },
  })
  expect(code).toBe(1)
  expect(stderr).toMatch(/No worker has stored anything.*stepwell-worker/)
})

test('30,000 traces from a pipe, in bounded memory', async () => {
  const count = 30_000
  const before = await rowCount()
  function* lines(): Generator<string> {
    for (let i = 0; i < count; i++)
      yield `${JSON.stringify({
        skill_name: `bulk-${i % 9}`,
        execution_id: `bulk-${i}`,
        started_at: new Date(Date.UTC(2026, 6, 1) + i * 1_000).toISOString(),
        status: 'success',
        metadata: { i },
        steps: Array.from({ length: 10 }, (_, k) => ({ name: `s${k}`, duration_ms: k, status: 'success' })),
      })}\n`
  }
  const limited = { NODE_OPTIONS: '--max-old-space-size=64' }
  const { code, stdout } = await bench.stepwell(['import', '-'], { input: lines(), env: limited })
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'imported 30,000 traces\n' })
  expect(await rowCount()).toBe(before + count)
  const { stdout: out, code: exported } = await bench.stepwell(
    ['export', '--since', '2026-07-01', '--until', '2026-07-02'],
    { env: limited },
  )
  expect(exported).toBe(0)
  expect(out.trim().split('\n').length).toBeGreaterThanOrEqual(count)
})

test('delete removes a trace, or an execution, for good: the row, the dead letters, the open state', async () => {
  const line = (id: string) => ({
    skill_name: 'gone',
    execution_id: id,
    started_at: '2026-02-02T00:00:00Z',
    status: 'success',
    steps: [],
  })
  await bench.stepwell(['import', '-'], { input: ndjson([line('d-1'), line('d-2')]) })
  const { trace_id } = await bench.json('trace', 'd-1')
  expect(await bench.stepwell(['delete', '--trace', trace_id])).toEqual({
    code: 0,
    stdout: 'deleted 1 trace\n',
    stderr: '',
  })
  expect(await bench.stepwell(['delete', '--trace', trace_id])).toMatchObject({ code: 1 })
  expect(await bench.stepwell(['delete', '--execution', 'd-2'])).toMatchObject({
    code: 0,
    stdout: 'deleted 1 trace\n',
  })
  expect(await bench.stepwell(['trace', 'd-2'])).toMatchObject({
    code: 1,
    stderr: "stepwell: There is no trace with the id or execution id 'd-2'\n",
  })
  expect(await bench.stepwell(['delete'])).toMatchObject({ code: 2 })
  expect(await bench.stepwell(['delete', '--trace', 'x'])).toMatchObject({ code: 2 })
  await waitFor(async () => (await bench.json('traces', '--skill', 'gone')).traces.length === 0, {
    what: 'it stays away',
  })
})
