import { ExecutionTracer } from '@stepwell/client'
import { monthOf } from '@stepwell/protocol'
import { ensurePartitions, openDatabase } from '@stepwell/storage'
import { waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CliBench, type Document, makeCliBench } from './cli-bench.ts'

let bench: CliBench
let tracer: ExecutionTracer

beforeAll(async () => {
  bench = await makeCliBench({ checkpointMs: 60_000 })
  tracer = new ExecutionTracer({ redis: bench.redisUrl })
  for (let i = 0; i < 3; i++) {
    await tracer
      .trace(
        'build',
        { executionId: `build-${i}`, metadata: { env: i === 0 ? 'prod' : 'dev', n: i } },
        async (t) => {
          await t.step('load', async (s) => s.step('parse', () => {}))
          if (i === 2)
            await t.step('compile', () => Promise.reject(new Error('exit code 3: \x1b[31mred\x1b[0m')))
        },
      )
      .catch(() => {})
  }
  await tracer.flush()
  await waitFor(async () => (await bench.json('traces')).traces.length === 3, { what: 'all is stored' })
})
afterAll(async () => {
  await tracer.close()
  await bench[Symbol.asyncDispose]()
})

/** The month of these runs is there, be it the one before. */
async function monthIsThere(startMs: number): Promise<void> {
  const database = openDatabase(bench.database.url)
  await ensurePartitions(database, [monthOf(startMs)])
  await database.close()
}

async function sql(text: string, values: unknown[] = []): Promise<void> {
  const client = new pg.Client({ connectionString: bench.database.url })
  await client.connect()
  await client.query(text, values)
  await client.end()
}

test('traces: a table, or one JSON document; filters; pages', async () => {
  const { code, stdout, stderr } = await bench.stepwell(['traces'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const lines = stdout.trimEnd().split('\n')
  expect(lines[0]).toMatch(/^TRACE +STATUS +STARTED +TOOK +STEPS +SKILL +EXECUTION +ERROR$/)
  expect(lines).toHaveLength(4)
  expect(stdout).not.toContain('\x1b')
  const failed = await bench.json('traces', '--status', 'failed', '--since', '1h', '--step', 'compile')
  expect(failed).toEqual({
    traces: [
      {
        trace_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        skill_name: 'build',
        execution_id: 'build-2',
        status: 'failed',
        started_at: expect.stringMatching(/^\d{4}-.*Z$/),
        completed_at: expect.any(String),
        total_duration_ms: expect.any(Number),
        step_count: 3,
        missing_steps: 0,
        error_message: expect.stringContaining('exit code 3'),
        metadata: { env: 'dev', n: 2 },
      },
    ],
  })
  const prod = await bench.json('traces', '--metadata', 'env=prod', '--metadata', 'n=0')
  expect(prod.traces.map((t: Document) => t.execution_id)).toEqual(['build-0'])
  expect(
    (await bench.json('traces', '--failed-step', 'compile', '--error', 'Code exit')).traces,
  ).toHaveLength(1)
  expect((await bench.json('traces', '--failed-step', 'load')).traces).toEqual([])
  const first = await bench.json('traces', '--limit', '2')
  const rest = await bench.json('traces', '--limit', '2', '--cursor', first.next_cursor)
  expect([...first.traces, ...rest.traces].map((t: Document) => t.execution_id)).toEqual([
    'build-2',
    'build-1',
    'build-0',
  ])
  expect(rest.next_cursor).toBeUndefined()
  expect(await bench.json('traces', '--limit', '2', '--cursor', rest.previous_cursor)).toEqual(first)
  const table = await bench.stepwell(['traces', '--limit', '2'])
  expect(table.stderr).toBe(`older: --cursor ${first.next_cursor}\n`)
})

test('trace: a waterfall that fits the terminal, with nesting and failures; by execution id too', async () => {
  for (const columns of [40, 60, 80, 200]) {
    const { stdout } = await bench.stepwell(['trace', 'build-2'], { env: { COLUMNS: String(columns) } })
    for (const line of stdout.trimEnd().split('\n')) expect([...line].length).toBeLessThanOrEqual(columns)
    expect(stdout).not.toContain('\x1b')
  }
  const { stdout } = await bench.stepwell(['trace', 'build-2'])
  expect(stdout).toMatch(/^build {2}failed {2}/)
  expect(stdout).toMatch(/^ {2}load /m)
  expect(stdout).toMatch(/^ {4}parse /m)
  expect(stdout).toMatch(/^✗ compile /m)
  expect(stdout).toMatch(/^ +exit code 3/m)
  expect((await bench.stepwell(['trace', 'build-2'], { env: { FORCE_COLOR: '1' } })).stdout).toContain(
    '\x1b[',
  )
  const whole = await bench.json('trace', 'build-2')
  expect(whole.steps.map((s: Document) => [s.id, s.name, s.status, s.parent_id])).toEqual([
    [1, 'load', 'success', undefined],
    [2, 'parse', 'success', 1],
    [3, 'compile', 'failed', undefined],
  ])
})

test('compare: two runs side by side, by execution id; what failed first, and metadata', async () => {
  const { code, stdout } = await bench.stepwell(['compare', 'build-0', 'build-2'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/2 steps alike, 0 ended otherwise, 0 missing in b, 1 only in b/)
  expect(stdout).toMatch(/first divergence: compile is only in b: exit code 3/)
  expect(stdout).toMatch(/METADATA +A +B\nenv +"prod" +"dev"\nn +0 +2\n/)
  expect(stdout).toMatch(/\n +load +[\d.]+ ms +[\d.]+ ms +[+−]/)
  expect(stdout).toMatch(/\n\+ +compile +– +failed [\d.]+ ms/)
  expect(stdout).not.toContain('\x1b')
  const json = await bench.json('compare', 'build-0', 'build-2', '--limit', '2')
  expect(json).toMatchObject({
    a: { execution_id: 'build-0' },
    b: { execution_id: 'build-2' },
    same_count: 2,
    added_count: 1,
    steps_truncated: true,
    first_divergence: { path: ['compile'], occurrence: 1, change: 'added', b: { status: 'failed' } },
    metadata: [
      { path: ['env'], a: 'prod', b: 'dev' },
      { path: ['n'], a: 0, b: 2 },
    ],
  })
  expect(json.steps).toHaveLength(2)
  const none = await bench.stepwell(['compare', 'build-0', 'nobody'])
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("'nobody'") })
})

test('skills, similar', async () => {
  expect(await bench.json('skills')).toEqual({
    skills: [
      {
        skill_name: 'build',
        trace_count: 3,
        success_count: 2,
        failed_count: 1,
        timeout_count: 0,
        running_count: 0,
        p50_duration_ms: expect.any(Number),
        p95_duration_ms: expect.any(Number),
        last_started_at: expect.any(String),
      },
    ],
    truncated: false,
  })
  expect((await bench.stepwell(['skills'])).stdout).toMatch(/^SKILL +RUNS +FAILED.*\nbuild +3 +1 /)
  const { failures } = await bench.json('similar', 'exit code 3:', '--threshold', '0.1')
  expect(failures).toMatchObject([{ skill_name: 'build', execution_id: 'build-2', similarity_score: 0.75 }])
  expect((await bench.stepwell(['similar', 'exit code 3:'])).stdout).toMatch(/75 % .*build/)
  expect(await bench.stepwell(['similar', 'nothing of that kind'])).toMatchObject({ code: 0, stdout: '' })
})

test('running and trace show a run that only Redis knows, and the step it is in', async () => {
  const traceId = tracer.startTrace('deploy', { executionId: 'deploy-1' })
  const open = tracer.attach({ traceId })
  const step = open.startStep('roll-out')
  await tracer.flush()
  const running = await waitFor(
    async () => {
      const found = await bench.json('running')
      return found.running.length === 1 ? found.running[0] : undefined
    },
    { what: 'the run is seen' },
  )
  expect(running).toMatchObject({
    trace_id: traceId,
    skill_name: 'deploy',
    status: 'running',
    current_step: { name: 'roll-out', status: 'running' },
  })
  expect((await bench.stepwell(['running'])).stdout).toMatch(/deploy .*roll-out/)
  expect(await bench.json('running')).toMatchObject({ truncated: false })
  expect((await bench.stepwell(['trace', traceId])).stdout).toMatch(/^… roll-out .*running$/m)
  // Deleted while it runs, it is gone from Redis; what still comes of it would begin it anew.
  tracer.startTrace('short', { executionId: 'short-1' })
  await tracer.flush()
  await waitFor(async () => (await bench.json('running')).running.length === 2, { what: 'it is seen' })
  expect(await bench.stepwell(['delete', '--execution', 'short-1'])).toMatchObject({
    code: 0,
    stdout: 'deleted 1 trace\n',
  })
  expect((await bench.json('running')).running).toHaveLength(1)
  step.end()
  tracer.endTrace('success', { traceId })
  await tracer.flush()
  await waitFor(async () => (await bench.json('running')).running.length === 0, { what: 'it has ended' })
})

test('stuck: a stored run that takes longer than its skill does, and the step that Redis says it is in', async () => {
  const startMs = Date.now() - 2 * 3_600_000
  await monthIsThere(startMs)
  const traceId = tracer.startTrace('hanging', { startedAt: startMs })
  const step = tracer.attach({ traceId }).startStep('wait-for-lock')
  await tracer.flush()
  // As a checkpoint has stored it, before the step that it is in now.
  await sql(
    `insert into execution_traces (trace_id, started_at, skill_name, steps, step_count)
     values ($1, to_timestamp($2 / 1000.0), 'hanging', '[[1, "prepare", 0]]', 1)`,
    [traceId, startMs],
  )
  await waitFor(async () => (await bench.json('stuck')).stuck[0]?.current_step.name === 'wait-for-lock', {
    what: 'a worker has read the step',
  })
  const { stuck, truncated } = await bench.json('stuck')
  expect(truncated).toBe(false)
  expect(stuck[0]).toMatchObject({
    trace_id: traceId,
    skill_name: 'hanging',
    status: 'running',
    current_step: { name: 'wait-for-lock' },
    running_ms: expect.any(Number),
    limit_ms: 3_600_000,
    history_count: 0,
  })
  const { stdout, stderr } = await bench.stepwell(['stuck', '--skill', 'hanging'])
  expect(stdout).toMatch(
    /^TRACE +SKILL +FOR +USUALLY UNDER +IN STEP.*\n\S+ +hanging +2h 00m +1h 00m \? +wait-for-lock /,
  )
  expect(stderr).toMatch(/too few runs/)
  expect((await bench.json('stuck', '--fallback', '3h')).stuck).toEqual([])
  step.end()
  tracer.endTrace('success', { traceId })
  await tracer.flush()
  await waitFor(async () => (await bench.json('stuck')).stuck.length === 0, { what: 'it has ended' })
})

test('explain: what sets failing runs apart, of how many', async () => {
  await monthIsThere(Date.now() - 600_000)
  await sql(`insert into execution_traces (trace_id, started_at, skill_name, status, metadata, steps, step_count)
    select gen_random_uuid(), now() - i * interval '1 second', 'shaky', case when i % 5 = 0 then 'failed' else 'success' end,
           jsonb_build_object('env', case when i % 5 = 0 or i % 7 = 0 then 'canary' else 'prod' end,
                              'tags', jsonb_build_array('all', case when i % 5 = 0 then 'gpu' else 'cpu' end)),
           json_build_array(json_build_array(1, 'load', 0, case when i % 5 = 0 then 900 else 100 end + i % 50)), 1
      from generate_series(1, 300) i`)
  const report = await bench.json('explain', '--skill', 'shaky', '--since', '1h')
  expect(report).toMatchObject({
    failing: { looked: 60, of: 60, of_truncated: false, since: expect.stringMatching(/Z$/) },
    good: { looked: 240, of: 240 },
    findings: [
      { kind: 'metadata_member', path: ['tags'], value: 'gpu', good: { count: 0, of: 240 } },
      // No good run takes as long, and a few have the value: the less likely by chance comes first.
      { kind: 'step_duration', step_name: 'load', superiority: 1, p_value: expect.any(Number) },
      {
        kind: 'metadata',
        path: ['env'],
        value: 'canary',
        failing: { count: 60, of: 60 },
        lift: expect.closeTo(7, 0),
        p_value: expect.any(Number),
      },
    ],
    findings_truncated: false,
  })
  const { stdout } = await bench.stepwell(['explain', '--skill', 'shaky'])
  expect(stdout).toMatch(
    /^60 failing runs against 240 good runs; \d+ things looked at\n\nWHAT +FAILING +GOOD +HOW MUCH +P\n/,
  )
  expect(stdout).toMatch(/\nenv = "canary" +60 of 60 \(100 %\) +3\d of 240 \(1\d %\) +\d[.\d]* × /)
  expect(stdout).toMatch(/\ntags has "gpu" +60 of 60 \(100 %\) +0 of 240 \(0 %\) +only there /)
  expect(stdout).toMatch(/\nstep load takes longer +92\d ms +12\d ms +in 100 % of pairs /)
  expect((await bench.stepwell(['explain', '--skill', 'nobody'])).stdout).toMatch(/nothing failed/)
  await sql("delete from execution_traces where skill_name = 'shaky'")
})

test('tail: starts, steps and ends as they happen; what was before with --since; JSON a line', async () => {
  const following = bench.stepwell(['tail', '--json', '--since', '1ms'], {
    killAfter: /"event":"end"[^\n]*\n/,
  })
  await waitFor(
    async () => {
      await tracer.trace('seen', (t) => t.step('work', () => {}))
      await tracer.flush()
      return Promise.race([
        following.then(() => true),
        new Promise<false>((resolve) => setTimeout(resolve, 50, false)),
      ])
    },
    { what: 'tail has seen one' },
  )
  const { code, stdout } = await following
  expect(code).toBe(0)
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(events.slice(0, 3).map((e) => e.event)).toEqual(['start', 'step_end', 'end'])
  expect(events[1]).toMatchObject({ skill_name: 'seen', step: { name: 'work', status: 'success' } })
  const past = await bench.stepwell(['tail', '--since', '1h', '--skill', 'seen'], {
    killAfter: /■ seen {2}success/,
  })
  expect(past.stdout).toMatch(/▶ seen {2}starts\n.*│ seen {2}work {2}success/)
})

test('run: the exit code is the status and is passed on, the last line of stderr the error; nested ones are children', async () => {
  const main = new URL('../apps/cli/src/main.ts', import.meta.url).pathname
  const script = `echo out; echo first >&2; ${process.execPath} ${main} run --name inner -- true; printf 'password=hunter2 is wrong' >&2; exit 3`
  const { code, stdout, stderr } = await bench.stepwell([
    'run',
    '--execution',
    'run-1',
    '--',
    'sh',
    '-c',
    script,
  ])
  expect({ code, stdout, stderr }).toEqual({
    code: 3,
    stdout: 'out\n',
    stderr: 'first\npassword=hunter2 is wrong',
  })
  const trace = await waitFor(() => bench.json('trace', 'run-1').catch(() => undefined), {
    what: 'it is stored',
  })
  expect(trace).toMatchObject({
    skill_name: 'sh',
    status: 'failed',
    error_message: 'password=[redacted] is wrong',
    metadata: { exit_code: 3 },
  })
  const inner = await waitFor(async () => (await bench.json('traces', '--skill', 'inner')).traces[0], {
    what: 'the inner one',
  })
  expect(inner).toMatchObject({ status: 'success', parent_trace_id: trace.trace_id })
  for (const option of ['--parent', '--root'])
    expect(await bench.json('traces', option, trace.trace_id)).toEqual({ traces: [inner] })
  expect(await bench.stepwell(['run', '--', 'no-such-command-here'])).toMatchObject({ code: 127 })
  expect(await bench.stepwell(['run', '--', 'sh', '-c', 'kill -9 $$'])).toMatchObject({ code: 137 })
  // Redis away, or not named: the command runs all the same.
  const away = await bench.stepwell(['run', '--', 'echo', 'ran'], {
    env: { REDIS_URL: 'redis://127.0.0.1:1' },
  })
  expect(away).toMatchObject({ code: 0, stdout: 'ran\n', stderr: expect.stringMatching(/^stepwell: /) })
  expect(await bench.stepwell(['run', '--', 'echo', 'ran'], { env: { REDIS_URL: '' } })).toMatchObject({
    code: 0,
    stdout: 'ran\n',
  })
})

test('migrate; namespace and schema from the environment', async () => {
  const database = await createDatabase({ empty: true })
  const env = { DATABASE_URL: database.url, STEPWELL_SCHEMA: 'team_a' }
  expect(await bench.stepwell(['migrate'], { env })).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^migrations: 0001/),
  })
  expect(await bench.stepwell(['migrate'], { env })).toMatchObject({
    code: 0,
    stdout: 'migrations: up to date\nindexes: up to date\npartitions: up to date\n',
  })
  expect(await bench.stepwell(['traces', '--json'], { env })).toMatchObject({
    code: 0,
    stdout: '{\n  "traces": []\n}\n',
  })
  await database.drop()
})
