import { monthBounds, monthOf } from '@stepwell/protocol'
import { migrateToLatest } from '@stepwell/storage'
import { generateTraces } from './generated-traces.ts'
import { type BenchContext, type Benchmark, type Figure, scaled } from './harness.ts'
import type { Load } from './ingest/load.ts'
import { Pipeline, type PipelineSample } from './ingest/pipeline.ts'
import { figure, inTurns, ratio } from './rounds.ts'

const STORED = 1_000_000
const TRACES = 30_000
const STEPS = 300_000
const OPEN = 100_000
const DAY_MS = 86_400_000

/**
 * Whether a trace costs the same when there is more of everything: of traces stored in the month that is written, of skills, of steps in
 * a trace, of traces open at once. Each against a smaller case, in turns.
 */
export const growth: Benchmark = async (context) => {
  const traces = scaled(TRACES, context.scale, 1_000)
  const stored = await withStored(context, traces)
  await using pipeline = await Pipeline.start(context, { namespace: 'growth', workers: 1, shards: 1 })
  const cases = async (name: string, loads: Record<string, Load>): Promise<Figure[]> => {
    const runs = Object.entries(loads).map(([size, load]) => [size, () => pipeline.run(load)])
    return compared(
      name,
      await inTurns(Object.fromEntries(runs), context.rounds),
      loads,
      Object.keys(loads)[0] as string,
    )
  }
  const steps = scaled(STEPS, context.scale, 20_000)
  // Whole numbers for each producer in every case.
  const open = 200 * scaled(OPEN / 200, context.scale, 10)
  const ofSteps = (each: number): Load => ({ kind: 'short', steps: each, traces: Math.ceil(steps / each) })
  const ofOpen = (atOnce: number): Load => ({
    kind: 'long',
    traces: Math.max(atOnce, open / 5),
    openAtOnce: atOnce / 2,
  })
  return [
    ...stored,
    ...(await cases('skills', {
      1: { kind: 'short', traces, skills: 1 },
      1000: { kind: 'short', traces, skills: 1_000 },
    })),
    ...(await cases('steps', {
      10: ofSteps(10),
      100: ofSteps(100),
      1000: ofSteps(1_000),
      10000: ofSteps(10_000),
    })),
    ...(await cases('open', {
      [open / 100]: ofOpen(open / 100),
      [open / 10]: ofOpen(open / 10),
      [open]: ofOpen(open),
    })),
  ]
}

/** Short runs into months that hold nothing, a tenth, and all of the traces built before. */
async function withStored(context: BenchContext, traces: number): Promise<Figure[]> {
  const { databaseUrl, rounds, scale } = context
  const most = context.traces ?? scaled(STORED, scale, 20_000)
  const days = (Date.now() - monthBounds(monthOf(Date.now())).fromMs) / DAY_MS
  await using stack = new AsyncDisposableStack()
  const runs: Record<string, () => Promise<PipelineSample>> = {}
  for (const size of [0, Math.round(most / 10), most]) {
    const schema = `growth_${size}`
    if (size > 0) await generateTraces(databaseUrl, { schema, traces: size, days })
    else await migrateToLatest({ connectionString: databaseUrl, schema })
    const options = { namespace: schema, workers: 1, shards: 1, schema, keep: true }
    const pipeline = stack.use(await Pipeline.start(context, options))
    runs[String(size)] = () => pipeline.run({ kind: 'short', traces })
  }
  return compared('stored', await inTurns(runs, rounds), {}, String(Math.round(most / 10)))
}

/** CPU and time of each case, and both against those of `base`; per 10 steps, as the loads differ in steps. */
function compared(
  name: string,
  samples: Record<string, PipelineSample[]>,
  loads: Record<string, Load>,
  base: string,
): Figure[] {
  const scaleOf = (size: string): number => 10 / (loads[size]?.steps ?? 10)
  const cpu = (size: string): number[] => (samples[size] ?? []).map((sample) => sample.cpu * scaleOf(size))
  const time = (size: string): number[] =>
    (samples[size] ?? []).map((sample) => (1e6 / sample.tracesPerSecond) * scaleOf(size))
  const sizes = Object.keys(samples).sort((a, b) => Number(a) - Number(b))
  return sizes.flatMap((size) => [
    figure(`growth.${name}.${size}.cpu`, cpu(size), 'µs/10 steps'),
    figure(`growth.${name}.${size}.time`, time(size), 'µs/10 steps'),
    ...(size === base
      ? []
      : [
          ratio(`growth.${name}.${size}.cpu_to_${base}`, cpu(size), cpu(base)),
          ratio(`growth.${name}.${size}.time_to_${base}`, time(size), time(base)),
        ]),
  ])
}
