import { type Benchmark, scaled } from './harness.ts'
import { Pipeline, type PipelineSample } from './ingest/pipeline.ts'
import { figuresOf } from './ingest.ts'
import { inTurns, ratio } from './rounds.ts'

const TRACES = 40_000
const CASES = [
  { workers: 1, shards: 1 },
  { workers: 2, shards: 1 },
  { workers: 4, shards: 1 },
  { workers: 1, shards: 8 },
  { workers: 4, shards: 8 },
]

/** The short runs again, by more workers, and through more streams: what it costs where the cores stay the same. */
export const ingestWorkers: Benchmark = async (context) => {
  const traces = scaled(TRACES, context.scale, 1_000)
  await using stack = new AsyncDisposableStack()
  const runs: Record<string, () => Promise<PipelineSample>> = {}
  for (const { workers, shards } of CASES) {
    const name = `${workers}_on_${shards}`
    const pipeline = stack.use(
      await Pipeline.start(context, { namespace: `workers_${name}`, workers, shards }),
    )
    runs[name] = () => pipeline.run({ kind: 'short', traces })
  }
  const samples = await inTurns(runs, context.rounds)
  const cpu = (name: string): number[] => (samples[name] ?? []).map((sample) => sample.cpu)
  const speed = (name: string): number[] => (samples[name] ?? []).map((sample) => sample.tracesPerSecond)
  return Object.entries(samples).flatMap(([name, list]) => [
    ...figuresOf(`workers.${name}`, list),
    ...(name === '1_on_1'
      ? []
      : [
          ratio(`workers.${name}.to_one`, speed(name), speed('1_on_1')),
          ratio(`workers.${name}.cpu_to_one`, cpu(name), cpu('1_on_1')),
        ]),
  ])
}
