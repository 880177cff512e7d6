import { ExecutionTracer } from '@stepwell/client'
import { memorySink } from '@stepwell/client/testing'
import { type Benchmark, type Result, round } from './harness.ts'

const RUNS = 20_000

/** What looking for secrets costs a producer: the same runs with and without, in turns, as CPU time of each. */
export const redaction: Benchmark = async ({ scale }) => {
  const runs = Math.max(100, Math.round(RUNS * scale))
  const cost: Record<'on' | 'off', number[]> = { on: [], off: [] }
  for (let round = 0; round < 6; round++) {
    for (const kind of round % 2 === 0 ? (['on', 'off'] as const) : (['off', 'on'] as const)) {
      const ms = await record(runs, kind === 'on')
      // The first round warms up.
      if (round > 0) cost[kind].push((ms * 1_000) / runs)
    }
  }
  const median = (all: number[]): number => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
  const result = (metric: string, value: number, unit: string): Result => ({
    name: 'redaction.run_of_10_steps',
    metric,
    value: round(value),
    unit,
  })
  return [
    result('with', median(cost.on), 'µs'),
    result('without', median(cost.off), 'µs'),
    result('ratio', median(cost.on) / median(cost.off), 'times'),
  ]
}

async function record(runs: number, redact: boolean): Promise<number> {
  const sink = memorySink()
  const tracer = new ExecutionTracer({ sink: { ...sink, send: async () => {} }, redact })
  const before = process.cpuUsage()
  for (let i = 0; i < runs; i++) {
    tracer.trace('build', { metadata: { env: 'prod', branch: 'main', commit: `c${i}` } }, (t) => {
      for (let k = 0; k < 9; k++)
        t.recordStep('act', k, 'success', undefined, { attributes: { model: 'x', 'usage.input_tokens': k } })
      t.recordStep('connect', 1, 'failed', 'connect ECONNREFUSED 127.0.0.1:6379')
    })
    if (i % 500 === 0) await tracer.flush()
  }
  await tracer.close()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}
