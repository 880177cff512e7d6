import { ExecutionTracer } from '@stepwell/client'
import { memorySink } from '@stepwell/client/testing'
import { type Benchmark, scaled } from './harness.ts'
import { figure, inTurns, ratio } from './rounds.ts'

const RUNS = 20_000

/** What looking for secrets costs a producer: the same runs with and without, in turns, as CPU time of each. */
export const redaction: Benchmark = async ({ scale, rounds }) => {
  const runs = scaled(RUNS, scale, 100)
  const { on, off } = await inTurns({ on: () => record(runs, true), off: () => record(runs, false) }, rounds)
  const [with_, without] = [on, off].map((samples) => samples.map(({ cpuUs }) => cpuUs)) as [
    number[],
    number[],
  ]
  return [
    figure('redaction.with.cpu', with_, 'µs/run'),
    figure('redaction.without.cpu', without, 'µs/run'),
    ratio('redaction.to_without', with_, without),
  ]
}

async function record(runs: number, redact: boolean): Promise<{ cpuUs: number }> {
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
  return { cpuUs: (user + system) / runs }
}
