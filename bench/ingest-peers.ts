import { leaseRedisDatabase } from '@stepwell/testkit'
import { type Contender, startContender } from './contender.ts'
import { postgresCpuMs, redisCpuMs } from './cpu-time.ts'
import { type BenchContext, type Benchmark, scaled } from './harness.ts'
import { Pipeline, type PipelineSample } from './ingest/pipeline.ts'
import { figuresOf } from './ingest.ts'
import type { PeerReport } from './ingest-peers/producer.ts'
import type { Way } from './ingest-peers/way.ts'
import { tableBytes } from './memory/postgres-bytes.ts'
import { inTurns, ratio } from './rounds.ts'

const PRODUCERS = 2
/** Fewer for those who need longer. */
const TRACES = { stepwell: 40_000, xadd_per_event: 6_000, bullmq_per_trace: 6_000, bullmq_per_event: 1_500 }

/**
 * The same runs of 10 steps into the same table, with as many producers: by Stepwell; with one XADD an event and one INSERT a run;
 * with one BullMQ job a run; with one an event.
 */
export const ingestPeers: Benchmark = async (context) => {
  const { scale, rounds } = context
  await using pipeline = await Pipeline.start(context, { namespace: 'peers', workers: 1, shards: 1 })
  await using xadd = await Peer.start(context, 'xadd_per_event')
  await using perTrace = await Peer.start(context, 'bullmq_per_trace')
  await using perEvent = await Peer.start(context, 'bullmq_per_event')
  const traces = (who: keyof typeof TRACES): number => scaled(TRACES[who], scale, 200)
  const samples = await inTurns(
    {
      stepwell: () => pipeline.run({ kind: 'short', traces: traces('stepwell') }),
      xadd_per_event: () => xadd.run(traces('xadd_per_event')),
      bullmq_per_trace: () => perTrace.run(traces('bullmq_per_trace')),
      bullmq_per_event: () => perEvent.run(traces('bullmq_per_event')),
    },
    rounds,
  )
  const of = (who: keyof typeof samples, metric: keyof PipelineSample): number[] =>
    samples[who].map((sample) => sample[metric])
  return [
    ...Object.entries(samples).flatMap(([who, list]) => figuresOf(`peers.${who}`, list)),
    ...(['xadd_per_event', 'bullmq_per_trace', 'bullmq_per_event'] as const).flatMap((who) => [
      ratio(`peers.to_${who}`, of('stepwell', 'tracesPerSecond'), of(who, 'tracesPerSecond')),
      ratio(`peers.cpu_to_${who}`, of('stepwell', 'cpu'), of(who, 'cpu')),
    ]),
  ]
}

/** Two producers and a consumer of a peer. */
class Peer implements AsyncDisposable {
  readonly #context: BenchContext
  readonly #producers: Contender<{ traces: number }, PeerReport>[]
  readonly #consumer: Contender<{ traces: number }, { cpuMs: number; endedAtMs: number }>

  private constructor(
    context: BenchContext,
    producers: Contender<{ traces: number }, PeerReport>[],
    consumer: Contender<{ traces: number }, { cpuMs: number; endedAtMs: number }>,
  ) {
    this.#context = context
    this.#producers = producers
    this.#consumer = consumer
  }

  static async start(context: BenchContext, way: Way): Promise<Peer> {
    const { databaseUrl, services } = context
    // A database of its own in the same Redis: the keys of one way must not be in the other's way.
    const url = await leaseRedisDatabase(services.redis.url)
    const producer = new URL('./ingest-peers/producer.ts', import.meta.url)
    const consumer = new URL('./ingest-peers/consumer.ts', import.meta.url)
    return new Peer(
      context,
      await Promise.all(
        Array.from({ length: PRODUCERS }, () =>
          startContender<{ traces: number }, PeerReport>(producer, [way, url]),
        ),
      ),
      await startContender(consumer, [way, url, databaseUrl]),
    )
  }

  /** From the first event to the last row committed. */
  async run(traces: number): Promise<PipelineSample> {
    const { redis, pool } = this.#context
    await pool.query('truncate execution_traces')
    await pool.query('checkpoint')
    const before = { redis: await redisCpuMs(redis), postgres: await postgresCpuMs(pool) }
    const each = Math.ceil(traces / PRODUCERS)
    const total = each * PRODUCERS
    const [done, ...reports] = await Promise.all([
      this.#consumer.run({ traces: total }),
      ...this.#producers.map((producer) => producer.run({ traces: each })),
    ])
    const perTrace = (ms: number): number => (ms * 1_000) / total
    const sample = {
      tracesPerSecond: (total * 1_000) / (done.endedAtMs - Math.min(...reports.map((r) => r.startedAtMs))),
      producerCpu: perTrace(reports.reduce((sum, r) => sum + r.cpuMs, 0)),
      redisCpu: perTrace((await redisCpuMs(redis)) - before.redis),
      workerCpu: perTrace(done.cpuMs),
      postgresCpu: perTrace((await postgresCpuMs(pool)) - before.postgres),
      bytes: (await tableBytes(pool)).total / total,
    }
    return { ...sample, cpu: sample.producerCpu + sample.redisCpu + sample.workerCpu + sample.postgresCpu }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#producers, this.#consumer].map((contender) => contender.stop()))
  }
}
