import { ExecutionTracer } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { makeCliBench } from './cli-bench.ts'

const SHARDS = 4

test('the command line works on several streams: import, running, tail, doctor, delete', async () => {
  await using bench = await makeCliBench({ shards: SHARDS, checkpointMs: 60_000 })
  const env = { STEPWELL_SHARDS: String(SHARDS) }
  const lines = Array.from({ length: 2_000 }, (_, i) =>
    JSON.stringify({
      skill_name: `skill-${i % 5}`,
      execution_id: `e-${i}`,
      started_at: new Date(Date.UTC(2026, 3, 1) + i * 60_000).toISOString(),
      status: i % 10 === 0 ? 'running' : 'success',
      steps: [{ name: 'a', duration_ms: i, status: 'success' }],
    }),
  )
  const input = `${lines.join('\n')}\n`
  expect(await bench.stepwell(['import', '-'], { env, input })).toEqual({
    code: 0,
    stdout: 'imported 2,000 traces\n',
    stderr: '',
  })
  const exported = await bench.stepwell(['export'], { env })
  expect(exported.stdout.trim().split('\n')).toHaveLength(2_000)

  await using tracer = new ExecutionTracer({ redis: bench.redisUrl, shards: SHARDS })
  const ids = Array.from({ length: 20 }, (_, i) => tracer.startTrace('open', { executionId: `open-${i}` }))
  await tracer.flush()
  const open = async (): Promise<string[]> => {
    const { stdout } = await bench.stepwell(['running', '--json', '--limit', '1000'], { env })
    return JSON.parse(stdout).running.flatMap((one: { skill_name: string; trace_id: string }) =>
      one.skill_name === 'open' ? [one.trace_id] : [],
    )
  }
  await waitFor(async () => (await open()).length === 20, { what: 'all are seen' })
  expect((await open()).sort()).toEqual([...ids].sort())
  const tailed = await bench.stepwell(['tail', '--since', '1h', '--json', '--skill', 'open'], {
    env,
    killAfter: /(?:"event":"start"[\s\S]*?){20}/,
  })
  expect(tailed.stdout.match(/"event":"start"/g)).toHaveLength(20)
  expect(await bench.stepwell(['delete', '--execution', 'open-3'], { env })).toMatchObject({ code: 0 })
  expect(await open()).toHaveLength(19)
  const { code, stdout } = await bench.stepwell(['doctor', '--json'], { env })
  expect({ code, equations: stdout.match(/"name": "equation \d"/g)?.length }).toEqual({
    code: 0,
    equations: SHARDS,
  })
})

test('traces with more steps than are kept are cut, and say how many are missing; whatever a frame holds, they travel', async () => {
  await using bench = await makeCliBench()
  const run = (steps: number, name = 'step') =>
    JSON.stringify({
      skill_name: `large-${steps}`,
      started_at: '2026-03-01T00:00:00Z',
      status: 'success',
      steps: Array.from({ length: steps }, () => ({ name, duration_ms: 1, status: 'success' })),
    })
  const { code, stdout, stderr } = await bench.stepwell(['import', '-'], {
    input: `${run(25_000)}\n${run(100_000, 'x'.repeat(200))}\n${run(3)}\n`,
  })
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'imported 3 traces\n', stderr: '' })
  for (const steps of [25_000, 100_000])
    expect((await bench.json('traces', '--skill', `large-${steps}`)).traces).toMatchObject([
      { step_count: 10_000, missing_steps: steps - 10_000 },
    ])
})
