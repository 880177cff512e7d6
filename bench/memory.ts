import { replyFields, shardKeys } from '@stepwell/protocol'
import { startContender } from './contender.ts'
import { peakRssBytes } from './cpu-time.ts'
import { type BenchContext, type Benchmark, type Figure, round, scaled } from './harness.ts'
import { EVENTS, type Load, OPEN_EVENTS } from './ingest/load.ts'
import { Pipeline } from './ingest/pipeline.ts'
import { type TableBytes, tableBytes } from './memory/postgres-bytes.ts'
import type { VainReport } from './memory/recording-in-vain.ts'
import { streamBytes, weighOpenTraces } from './memory/redis-bytes.ts'

const TRACES = 60_000
const OPEN_TRACES = 20_000
const VAIN_RUNS = 100_000
const MB = 1e6

/** What is held where: by a worker at full load, by a client whose Redis is down, by Redis of open traces, by Postgres for good. */
export const memory: Benchmark = async (context) => [
  ...(await underLoad(context)),
  ...(await openTraces(context)),
  ...(await redisDown(context)),
]

const single = (name: string, value: number, unit: string): Figure => ({ name, value: round(value), unit })

/** Also what is stored: as ingested, after what autovacuum does, and after a rewrite, which is the least it could take. */
async function underLoad(context: BenchContext): Promise<Figure[]> {
  const { redis, pool, scale } = context
  const namespace = 'memory'
  await using pipeline = await Pipeline.start(context, { namespace, workers: 1, shards: 1 })
  const figures: Figure[] = []
  for (const kind of ['short', 'failing', 'long'] as const satisfies Load['kind'][]) {
    const traces = scaled(TRACES, scale, 2_000)
    await pipeline.run({ kind, traces })
    const add = ({ total }: TableBytes, when: string): number =>
      figures.push(single(`storage.${kind}.${when}`, total / traces, 'bytes/trace'))
    const bytes = await tableBytes(pool)
    add(bytes, 'ingested')
    for (const [part, size] of Object.entries({ heap: bytes.heap, toast: bytes.toast, ...bytes.indexes }))
      figures.push(single(`storage.${kind}.ingested.${part}`, size / traces, 'bytes/trace'))
    await pool.query('vacuum analyze execution_traces')
    add(await tableBytes(pool), 'vacuumed')
    await pool.query('vacuum full execution_traces')
    add(await tableBytes(pool), 'rewritten')
  }
  const [pid] = pipeline.workerPids
  figures.push(single('memory.worker.peak', peakRssBytes(pid as number) / MB, 'MB'))
  const { events, due } = shardKeys(namespace, 0)
  const [group] = (await redis.xinfo('GROUPS', events)) as unknown[][]
  const fields = replyFields(group)
  figures.push(
    single('memory.drained.pending', Number(fields.get('pending')), 'entries'),
    // Redis says null where it cannot tell: that is no 0.
    single('memory.drained.lag', Number(fields.get('lag') ?? Number.NaN), 'entries'),
    single('memory.drained.open', await redis.zcard(due), 'traces'),
    single('memory.drained.stream', (await streamBytes(redis, namespace)) / MB, 'MB'),
  )
  return figures
}

async function openTraces(context: BenchContext): Promise<Figure[]> {
  const { redis, scale } = context
  const namespace = 'open'
  const traces = scaled(OPEN_TRACES, scale, 2_000)
  {
    await using pipeline = await Pipeline.start(context, { namespace, workers: 1, shards: 1 })
    await pipeline.open(traces)
  }
  const bytes = await weighOpenTraces(redis, namespace, { traces, events: traces * OPEN_EVENTS })
  return [
    single('memory.redis.event', bytes.event, 'bytes'),
    single('memory.redis.correlation_key', bytes.correlationKey, 'bytes'),
    single('memory.redis.open_trace', bytes.openTrace, 'bytes'),
  ]
}

async function redisDown({ scale }: BenchContext): Promise<Figure[]> {
  const runs = scaled(VAIN_RUNS, scale, 20_000)
  await using program = await startContender<{ runs: number }, VainReport>(
    new URL('./memory/recording-in-vain.ts', import.meta.url),
  )
  const { before, peak, emitted, dropped } = await program.run({ runs })
  if (emitted !== runs * EVENTS || dropped === 0) throw new Error(`${emitted} emitted, ${dropped} dropped`)
  return [
    single('memory.client.before', before / MB, 'MB'),
    single('memory.client.redis_down', peak / MB, 'MB'),
    single('memory.client.added', (peak - before) / MB, 'MB'),
  ]
}
