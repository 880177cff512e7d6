import { startContender } from './contender.ts'
import { type Benchmark, scaled } from './harness.ts'
import { figure, inTurns, type Sample } from './rounds.ts'
import type { HostTask } from './single-calls/host.ts'

const CALLS = 50_000
const DISABLED_CALLS = 2_000_000
const STEPS_PER_SECOND = 100_000
const PACED_MS = 2_000

/**
 * What the host feels: single calls with attributes of about 1 KiB, each timed by itself, beside loops of the same length that do nothing; how late timers are at 100,000 steps a
 * second, with tracing and without; what is left of a call when tracing is disabled.
 */
export const singleCalls: Benchmark = async ({ redisUrl, redis, scale, rounds }) => {
  await using host = await startContender<HostTask, Sample<string>>(
    new URL('./single-calls/host.ts', import.meta.url),
    [redisUrl],
  )
  const paced = {
    measure: 'delay',
    stepsPerSecond: STEPS_PER_SECOND,
    durationMs: scaled(PACED_MS, scale, 500),
  } as const
  const cleared = async (task: HostTask): Promise<Sample<string>> => {
    const sample = await host.run(task)
    await redis.flushdb()
    return sample
  }
  const { calls, disabled, traced, untraced } = await inTurns(
    {
      calls: () => cleared({ measure: 'calls', calls: scaled(CALLS, scale, 5_000) }),
      disabled: () => cleared({ measure: 'disabled', calls: scaled(DISABLED_CALLS, scale, 100_000) }),
      traced: () => cleared({ ...paced, traced: true }),
      untraced: () => cleared({ ...paced, traced: false }),
    },
    rounds,
  )
  const of = (samples: Sample<string>[], metric: string): number[] =>
    samples.map((sample) => sample[metric] as number)
  const metrics = (samples: Sample<string>[]): string[] => Object.keys(samples[0] ?? {})
  return [
    ...metrics(calls).map((metric) =>
      figure(`calls.${metric}`, of(calls, metric), metric.endsWith('.over_20_us') ? '%' : 'µs'),
    ),
    figure('calls.timers_late.traced.p99', of(traced, 'p99'), 'ms'),
    figure('calls.timers_late.untraced.p99', of(untraced, 'p99'), 'ms'),
    figure(
      'calls.timers_late.added.p99',
      of(traced, 'p99').map((value, i) => value - (of(untraced, 'p99')[i] as number)),
      'ms',
    ),
    ...metrics(disabled).map((metric) => figure(`calls.disabled.${metric}`, of(disabled, metric), 'ns')),
  ]
}
