import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import { spawnProcess, type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker, type StepwellWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'

let database: TestDatabase
let redisUrl: string
let worker: StepwellWorker
let query: TraceQuery

beforeAll(async () => {
  database = await createDatabase()
  redisUrl = await redisForFile()
  worker = await createWorker({
    redis: redisUrl,
    database: database.url,
    migrate: false,
    checkpointMs: 200,
    silenceMs: 1_000,
  })
  query = new TraceQuery(database.url)
})
afterAll(async () => {
  await worker.close()
  await query.close()
  await database.drop()
})

async function run(example: string): Promise<string> {
  const program = spawnProcess(new URL(`../examples/${example}.ts`, import.meta.url), [], {
    REDIS_URL: redisUrl,
    DATABASE_URL: database.url,
  })
  expect(await program.exited).toEqual({ code: 0, signal: null })
  expect(program.stderr()).toBe('')
  return program.stdout()
}

/** Everything that was emitted has been dealt with, and the time in which a silent producer would be given up has passed. */
async function settled(): Promise<void> {
  const redis = new Redis(redisUrl)
  await waitFor(async () => (await redis.zcard('stepwell:{0}:producers')) === 0, {
    what: 'the producers are known to be silent',
  })
  await waitFor(async () => (await redis.exists('stepwell:{0}:due')) === 0, { what: 'no trace is open' })
  redis.disconnect()
}

/** Not only a checkpoint of it, and no worker's guess: the end that its producer told. */
const hasEnded = ({ status }: { status: string }): boolean => status === 'success' || status === 'failed'

/** The run of an execution, when it has ended. */
const ended = (executionId: string) =>
  waitFor(
    async () => {
      const trace = await query.getTraceByExecutionId(executionId)
      return trace !== undefined && hasEnded(trace) ? trace : undefined
    },
    { what: `${executionId} has ended` },
  )

test('record-and-finalize: emitted and finalized directly is one row, whole, with no later timeout', async () => {
  expect(await run('record-and-finalize')).toMatch(/^[0-9a-f-]{36}: success in \d+\.\d ms\n$/)
  await settled()
  const { traces } = await query.findTraces()
  expect(traces).toHaveLength(1)
  const trace = await query.getTraceByExecutionId('exec-123')
  expect(trace).toMatchObject({
    traceId: traces[0]?.traceId,
    skillName: 'docker-build',
    status: 'success',
    metadata: { env: 'prod' },
    stepCount: 2,
    missingSteps: 0,
    steps: [
      { id: 1, name: 'load-config', durationMs: 100, status: 'success' },
      { id: 2, name: 'build-image', durationMs: 200, status: 'success' },
    ],
  })
})

test('risky-operation: the step ends failed with the message, and so does the trace', async () => {
  expect(await run('risky-operation')).toMatch(/: failed\n$/)
  await settled()
  const [summary] = await query.queryBySkill('risky-skill')
  expect(summary).toMatchObject({
    status: 'failed',
    missingSteps: 0,
    errorMessage: 'connect ECONNREFUSED 127.0.0.1:1',
  })
  expect((await query.getTrace(summary?.traceId as string))?.steps).toMatchObject([
    { name: 'risky-step', status: 'failed', errorMessage: 'connect ECONNREFUSED 127.0.0.1:1' },
  ])
})

test('p95-of-a-skill: of the last 100 runs', async () => {
  const storage = new TraceStorage(database.url)
  const nowMs = Date.now()
  for (let i = 1; i <= 120; i++) {
    const startedAt = new Date(nowMs - i * 1_000)
    const hex = startedAt.getTime().toString(16).padStart(12, '0')
    const traceId = `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
    await storage.finalizeTrace(
      { traceId, skillName: 'docker-build', startedAt, totalDurationMs: i * 10 },
      'success',
    )
  }
  await storage.close()
  // The newest is that of the first example; of the 99 others the 94th and 95th lie at 940 and 950 ms.
  expect(await run('p95-of-a-skill')).toMatch(/^docker-build: 100 runs, p95 9[45]0\.0 ms\n$/)
})

test('similar-failures: each with skill, message and similarity', async () => {
  const storage = new TraceStorage(database.url)
  const failures = ['connection timeout redis', 'Connection timeout to redis at 10.0.0.1', 'disk full']
  for (const [i, errorMessage] of failures.entries()) {
    const traceId = `0199a0b0-c0d0-7000-8000-00000000000${i}`
    await storage.finalizeTrace(
      { traceId, skillName: 'sync', startedAt: new Date(0x0199a0b0c0d0), errorMessage },
      'failed',
    )
  }
  await storage.close()
  expect(await run('similar-failures')).toBe(
    'sync: connection timeout redis (100 % similar)\nsync: Connection timeout to redis at 10.0.0.1 (50 % similar)\n',
  )
})

test('bullmq-processor: each attempt is a trace, a child of the one that added the job; the retry succeeds', async () => {
  expect(await run('bullmq-processor')).toBe('added resize\nresized: 6400 bytes\n')
  const runs = await waitFor(
    async () => {
      const { traces } = await query.findTraces({ skill: 'resize' })
      return traces.length === 2 && traces.every(hasEnded) ? traces : undefined
    },
    { what: 'both attempts are stored' },
  )
  const [upload] = await query.queryBySkill('upload')
  expect(runs).toMatchObject([
    {
      status: 'success',
      executionId: 'images:1',
      metadata: { queue: 'images', attempt: 2, service: 'images' },
      stepCount: 2,
    },
    {
      status: 'failed',
      executionId: 'images:1',
      metadata: { attempt: 1 },
      errorMessage: 'out of scratch space',
      stepCount: 2,
    },
  ])
  for (const one of runs) expect(one.parentTraceId).toBe(upload?.traceId)
})

test('agent-loop: every call of the model and of a tool is a step, with its tokens; a tool that fails is a failed step', async () => {
  expect(await run('agent-loop')).toMatch(/42/)
  const trace = await ended('chat-1')
  expect(trace).toMatchObject({
    skillName: 'assistant',
    status: 'success',
    metadata: { turns: 3 },
    missingSteps: 0,
  })
  expect(trace.steps.map((step) => [step.name, step.status])).toEqual([
    ['model', 'success'],
    ['tool lookup', 'failed'],
    ['model', 'success'],
    ['tool multiply', 'success'],
    ['model', 'success'],
  ])
  expect(trace.steps[0]?.attributes).toEqual({
    model: 'script-1',
    'usage.input_tokens': 312,
    'usage.output_tokens': 18,
  })
})

test('http-handler: each request is a trace, a 503 a failed one; queries are not kept', async () => {
  expect(await run('http-handler')).toBe('200 {"id":12,"items":3}\n503 try again\n')
  const traces = await waitFor(
    async () => {
      const found = await query.queryBySkill('GET /orders/:id')
      return found.length === 2 && found.every(hasEnded) ? found : undefined
    },
    { what: 'both requests are stored' },
  )
  expect(traces).toMatchObject([
    {
      status: 'failed',
      errorMessage: 'HTTP 503',
      metadata: { method: 'GET', path: '/orders/13', status: 503 },
    },
    { status: 'success', metadata: { path: '/orders/12', status: 200 }, stepCount: 2 },
  ])
})

test('backup.sh: a shell script through stepwell run', async () => {
  const script = new URL('../examples/backup.sh', import.meta.url).pathname
  const cli = new URL('../apps/cli/src/main.ts', import.meta.url)
  const backup = (folder: string) =>
    spawnProcess(cli, ['run', '--name', 'backup', '--execution', folder, '--', 'sh', script, folder], {
      REDIS_URL: redisUrl,
    })
  await using good = backup('/etc/default')
  await using bad = backup('/does/not/exist')
  expect(await good.exited).toEqual({ code: 0, signal: null })
  expect(good.stdout()).toBe('backing up /etc/default\ndone\n')
  expect((await bad.exited).code).toBeGreaterThan(0)
  const failed = await ended('/does/not/exist')
  expect(failed).toMatchObject({
    skillName: 'backup',
    status: 'failed',
    errorMessage: expect.stringMatching(/tar|exist/),
  })
  const done = await ended('/etc/default')
  expect(done).toMatchObject({ status: 'success', metadata: { exit_code: 0 } })
})
