import { type Contender, startContender } from './contender.ts'
import { type Benchmark, type Figure, percentile, scaled } from './harness.ts'
import { Pipeline } from './ingest/pipeline.ts'
import type { LoaderTask } from './latency/loader.ts'
import type { ProbeTask } from './latency/probe.ts'
import { figure, inTurns } from './rounds.ts'

const CAPACITY_TRACES = 30_000
const DURATION_MS = 4_000
const LOADS = [10, 50, 90]
const NAMESPACE = 'latency'

/**
 * From the end of a run in its process to the moment somebody else sees it, in Postgres or in `stepwell tail`, at shares of what the
 * pipeline takes at most. Producers, worker, both servers and whoever looks share the machine.
 */
export const latency: Benchmark = async (context) => {
  const { redisUrl, databaseUrl, scale, rounds } = context
  await using pipeline = await Pipeline.start(context, { namespace: NAMESPACE, workers: 1, shards: 1 })
  const capacity = await inTurns(
    { short: () => pipeline.run({ kind: 'short', traces: scaled(CAPACITY_TRACES, scale, 1_000) }) },
    3,
  )
  const most = percentile(
    capacity.short.map((sample) => sample.tracesPerSecond),
    0.5,
  )
  await using loader: Contender<LoaderTask, { traces: number }> = await startContender(
    new URL('./latency/loader.ts', import.meta.url),
    [redisUrl, NAMESPACE],
  )
  await using probe: Contender<ProbeTask, number[]> = await startContender(
    new URL('./latency/probe.ts', import.meta.url),
    [redisUrl, databaseUrl, NAMESPACE],
  )
  const durationMs = scaled(DURATION_MS, scale, 1_000)
  const cases = LOADS.flatMap((load) => (['postgres', 'tail'] as const).map((where) => ({ load, where })))
  const samples = await inTurns(
    Object.fromEntries(
      cases.map(({ load, where }) => [
        `${where}_at_${load}`,
        async () => {
          await pipeline.clear()
          const [latencies] = await Promise.all([
            probe.run({ where, durationMs }),
            loader.run({ tracesPerSecond: (most * load) / 100, durationMs }),
          ])
          await pipeline.drained()
          return {
            p50: percentile(latencies, 0.5),
            p99: percentile(latencies, 0.99),
            max: percentile(latencies, 1),
          }
        },
      ]),
    ),
    rounds,
  )
  const figures: Figure[] = [
    figure(
      'latency.capacity',
      capacity.short.map((one) => one.tracesPerSecond),
      'traces/s',
    ),
  ]
  for (const [name, list] of Object.entries(samples))
    for (const metric of ['p50', 'p99', 'max'] as const)
      figures.push(
        figure(
          `latency.${name}.${metric}`,
          list.map((sample) => sample[metric]),
          'ms',
        ),
      )
  return figures
}
