import { startContender } from './contender.ts'
import { type Benchmark, type Figure, scaled } from './harness.ts'
import type { FloorSample, FloorTask } from './ingest/floor.ts'
import { EVENTS } from './ingest/load.ts'
import { Pipeline, type PipelineSample } from './ingest/pipeline.ts'
import { figure, inTurns, ratio } from './rounds.ts'

const SHORT_TRACES = 60_000
const AGENT_TRACES = 20_000
const LONG_TRACES = 20_000
/** Of each of the two producers. */
const LONG_AT_ONCE = 5_000

/**
 * From the first event recorded to the last row committed: two producers, Redis, a worker and Postgres share the machine. Beside
 * it the floor: the same rows from memory, by the same upsert, by the trace writer, and by COPY; the pipeline beside a Redis that writes its
 * append-only file anew from 64 MiB on; and with commits that do not wait for the disk, which is not how it should be run.
 */
export const ingest: Benchmark = async (context) => {
  const { databaseUrl, redis, scale, rounds } = context
  const short = scaled(SHORT_TRACES, scale, 1_000)
  const agent = scaled(AGENT_TRACES, scale, 500)
  const long = scaled(LONG_TRACES, scale, 500)
  await using pipeline = await Pipeline.start(context, { namespace: 'stepwell', workers: 1, shards: 1 })
  await using relaxed = await Pipeline.start(context, {
    namespace: 'relaxed',
    workers: 1,
    shards: 1,
    syncCommit: false,
  })
  const startFloor = () =>
    startContender<FloorTask, FloorSample>(new URL('./ingest/floor.ts', import.meta.url), [databaseUrl])
  await using sender = await startFloor()
  await using maker = await startFloor()
  const fromMemory =
    (way: FloorTask['way'], floor = maker) =>
    async (): Promise<PipelineSample> => ({
      producerCpu: 0,
      redisCpu: 0,
      bytes: 0,
      ...(await floor.run({ way, kind: 'short', traces: short })),
    })
  const withDefaultRewriting = async (run: () => Promise<PipelineSample>): Promise<PipelineSample> => {
    const [name, usual] = (await redis.config('GET', 'auto-aof-rewrite-min-size')) as [string, string]
    await redis.config('SET', name, '64mb')
    try {
      return await run()
    } finally {
      await redis.config('SET', name, usual)
    }
  }
  const samples = await inTurns(
    {
      short: () => pipeline.run({ kind: 'short', traces: short }),
      failing: () => pipeline.run({ kind: 'failing', traces: short }),
      short_aof_rewritten: () => withDefaultRewriting(() => pipeline.run({ kind: 'short', traces: short })),
      short_async_commit: () => relaxed.run({ kind: 'short', traces: short }),
      agent: () => pipeline.run({ kind: 'agent', traces: agent }),
      long: () => pipeline.run({ kind: 'long', traces: long, openAtOnce: LONG_AT_ONCE }),
      floor_upsert: fromMemory('upsert', sender),
      floor_writer: fromMemory('writer'),
      floor_copy: fromMemory('copy', sender),
      rollup: fromMemory('rollup'),
    },
    rounds,
  )
  const speed = (name: keyof typeof samples): number[] => samples[name].map((one) => one.tracesPerSecond)
  return [
    ...Object.entries(samples).flatMap(([name, list]) => figuresOf(`ingest.${name}`, list)),
    ratio('ingest.short.of_floor_upsert', speed('short'), speed('floor_upsert')),
    ratio('ingest.short.of_floor_copy', speed('short'), speed('floor_copy')),
    ratio(
      'ingest.short.cpu_to_floor_upsert',
      samples.short.map((one) => one.cpu),
      samples.floor_upsert.map((one) => one.cpu),
    ),
    ratio(
      'ingest.rollup.cpu_to_short',
      samples.rollup.map((one) => one.cpu),
      samples.short.map((one) => one.cpu),
    ),
    ratio('ingest.short_async_commit.of_short', speed('short_async_commit'), speed('short')),
    ratio('ingest.short_aof_rewritten.of_short', speed('short_aof_rewritten'), speed('short')),
    ratio('ingest.failing.of_short', speed('failing'), speed('short')),
    ratio(
      'ingest.agent.cpu_to_short',
      samples.agent.map((one) => one.cpu),
      samples.short.map((one) => one.cpu),
    ),
    ratio('ingest.long.of_short', speed('long'), speed('short')),
    ratio(
      'ingest.long.cpu_to_short',
      samples.long.map((one) => one.cpu),
      samples.short.map((one) => one.cpu),
    ),
    figure(
      'ingest.short.stored',
      samples.short.map((one) => one.bytes),
      'bytes/trace',
    ),
  ]
}

/** The figures of runs through a pipeline: speed, and CPU by process. */
export function figuresOf(name: string, samples: readonly PipelineSample[]): Figure[] {
  const of = (metric: keyof PipelineSample): number[] => samples.map((sample) => sample[metric])
  const parts = (['producerCpu', 'redisCpu', 'workerCpu', 'postgresCpu'] as const).filter((part) =>
    of(part).some((value) => value > 0),
  )
  return [
    figure(`${name}.traces`, of('tracesPerSecond'), 'traces/s'),
    figure(
      `${name}.events`,
      of('tracesPerSecond').map((value) => value * EVENTS),
      'events/s',
    ),
    figure(`${name}.cpu`, of('cpu'), 'µs/trace'),
    ...parts.map((part) => figure(`${name}.cpu_${part.slice(0, -3)}`, of(part), 'µs/trace')),
  ]
}
