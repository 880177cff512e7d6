import { TraceQuery } from '@stepwell/query'
import { spawnProcess, type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, expect, test } from 'vitest'

const RUNS = 50
let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

test('runs that three processes work on, through four worker processes, are whole soon after their end, before any checkpoint', async () => {
  const env = {
    REDIS_URL: await redisForFile(),
    DATABASE_URL: database.url,
    STEPWELL_MIGRATE: 'off',
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_CHECKPOINT_S: '600',
  }
  const workers = Array.from({ length: 4 }, () =>
    spawnProcess(new URL('../apps/worker/src/main.ts', import.meta.url), [], env),
  )
  for (const worker of workers)
    await waitFor(() => worker.stdout().includes('worker reads'), {
      what: 'a worker reads',
    })

  const processes = ['owner', 'helper', 'helper'].map((role) =>
    spawnProcess(new URL('./worked-on-run.ts', import.meta.url), [role], env),
  )
  const reports = []
  for (const each of processes) {
    expect(await each.exited, each.stderr()).toEqual({ code: 0, signal: null })
    reports.push(JSON.parse(each.stdout()))
  }
  for (const { sent, emitted } of reports) expect(sent).toBe(emitted)

  await using query = new TraceQuery(database.url)
  const whole = await waitFor(
    async () => {
      const { traces } = await query.findTraces({ skill: 'shared-run' })
      const done = traces.filter((t) => t.status === 'success' && t.missingSteps === 0 && t.stepCount === 6)
      return done.length === RUNS ? done : undefined
    },
    { what: 'all runs are whole' },
  )
  const trace = await query.getTrace(whole[0]?.traceId as string)
  const details = trace?.steps.filter((step) => step.name === 'detail') ?? []
  expect(details).toHaveLength(2)
  for (const { parentId } of details)
    expect(trace?.steps.find((step) => step.id === parentId)?.name).toBe('part')
  for (const worker of workers) expect((await worker.kill()).code).toBe(0)
})
