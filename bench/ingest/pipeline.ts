import { correlationKey, GROUP, shardKeys } from '@stepwell/protocol'
import { type SpawnedProcess, spawnProcess, waitFor } from '@stepwell/testkit'
import type { Redis } from 'ioredis'
import { type Contender, startContender } from '../contender.ts'
import { postgresCpuMs, processCpuMs, redisCpuMs } from '../cpu-time.ts'
import type { BenchContext } from '../harness.ts'
import { tableBytes } from '../memory/postgres-bytes.ts'
import { type Load, STEPS } from './load.ts'
import type { ProducerReport, ProducerTask } from './producer.ts'

const PRODUCERS = 2

/** How many of what. */
export interface PipelineOptions {
  /** Prefix of its keys: pipelines that run side by side need each their own. */
  namespace: string
  workers: number
  shards: number
  /** Whether a commit of the workers waits for the disk. Default: true. */
  syncCommit?: boolean
  /** Where the tables lie. Default: the search path. */
  schema?: string
  /** Whether what is stored stays for the next run. Default: no. */
  keep?: boolean
}

/** What one run through the pipeline took: traces a second; microseconds of CPU a trace, by process; bytes stored of a trace. */
export type PipelineSample = Record<
  'tracesPerSecond' | 'bytes' | 'producerCpu' | 'redisCpu' | 'workerCpu' | 'postgresCpu' | 'cpu',
  number
>

/**
 * Two producer processes, Redis, worker processes and Postgres, all on this machine. They stay up from run to run: what is measured
 * is a system that has been up for a while.
 */
export class Pipeline implements AsyncDisposable {
  readonly #context: BenchContext
  readonly #options: PipelineOptions
  readonly #workers: SpawnedProcess[]
  readonly #producers: Contender<ProducerTask, ProducerReport>[]

  private constructor(
    context: BenchContext,
    options: PipelineOptions,
    workers: SpawnedProcess[],
    producers: Contender<ProducerTask, ProducerReport>[],
  ) {
    this.#context = context
    this.#options = options
    this.#workers = workers
    this.#producers = producers
  }

  static async start(context: BenchContext, options: PipelineOptions): Promise<Pipeline> {
    const { redisUrl, databaseUrl } = context
    const workers = Array.from({ length: options.workers }, () =>
      spawnProcess(new URL('../../apps/worker/src/main.ts', import.meta.url), [], {
        REDIS_URL: redisUrl,
        DATABASE_URL: options.syncCommit === false ? asyncCommit(databaseUrl) : databaseUrl,
        STEPWELL_NAMESPACE: options.namespace,
        STEPWELL_SHARDS: String(options.shards),
        ...(options.schema === undefined ? {} : { STEPWELL_SCHEMA: options.schema }),
        STEPWELL_HEALTH_PORT: '0',
        STEPWELL_LOG_LEVEL: 'info',
      }),
    )
    const producers = await Promise.all(
      Array.from({ length: PRODUCERS }, () =>
        startContender<ProducerTask, ProducerReport>(new URL('./producer.ts', import.meta.url)),
      ),
    )
    await waitFor(() => workers.every((worker) => worker.stdout().includes('worker reads')), {
      what: 'the workers read',
    })
    return new Pipeline(context, options, workers, producers)
  }

  get workerPids(): number[] {
    return this.#workers.map((worker) => worker.pid)
  }

  /** From the first event recorded to the last row committed. Throws if a run is not stored whole. */
  async run(load: Load): Promise<PipelineSample> {
    await this.clear()
    const before = await this.#cpuMs()
    const each = Math.ceil(load.traces / PRODUCERS)
    const reports = await this.#produce({ ...load, traces: each })
    await this.drained()
    const endedAtMs = Date.now()
    const after = await this.#cpuMs()
    const startedAtMs = Math.min(...reports.map((report) => report.startedAtMs))
    const total = each * PRODUCERS
    await this.#verify(total, load.steps ?? STEPS, startedAtMs)
    const perTrace = (ms: number): number => (ms * 1_000) / total
    const sample = {
      tracesPerSecond: (total * 1_000) / (endedAtMs - startedAtMs),
      producerCpu: perTrace(reports.reduce((sum, r) => sum + r.cpuMs, 0)),
      redisCpu: perTrace(after.redis - before.redis),
      workerCpu: perTrace(after.workers - before.workers),
      postgresCpu: perTrace(after.postgres - before.postgres),
      bytes: (await tableBytes(this.#context.pool, this.#options.schema)).total / total,
    }
    return { ...sample, cpu: sample.producerCpu + sample.redisCpu + sample.workerCpu + sample.postgresCpu }
  }

  async #verify(traces: number, steps: number, sinceMs: number): Promise<void> {
    const { rows } = await this.#context.pool.query<{ n: number }>(
      `select count(*)::int as n from ${this.#table}
        where started_at >= $1 and status in ('success', 'failed') and step_count = $2 and missing_steps = 0`,
      [new Date(sinceMs), steps],
    )
    if (rows[0]?.n === traces) return
    const said = this.#workers.map((worker) => worker.stdout() + worker.stderr()).join('')
    throw new Error(`${rows[0]?.n} of ${traces} traces are stored whole\n${said}`)
  }

  get #table(): string {
    const { schema } = this.#options
    return schema === undefined ? 'execution_traces' : `${schema}.execution_traces`
  }

  /** Leaves so many traces open, all that is known of them folded. */
  async open(traces: number): Promise<void> {
    const { redis } = this.#context
    const each = Math.ceil(traces / PRODUCERS)
    await this.#produce({ kind: 'open', traces: each })
    await waitFor(() => isFolded(redis, this.#options, each * PRODUCERS), {
      what: 'everything is folded',
      timeoutMs: 60_000,
    })
  }

  #produce(load: Load): Promise<ProducerReport[]> {
    const { namespace, shards } = this.#options
    const task = { namespace, shards, redisUrl: this.#context.redisUrl, ...load }
    return Promise.all(this.#producers.map((producer) => producer.run(task)))
  }

  /** Resolves when all that was sent is stored. */
  async drained(): Promise<void> {
    await waitFor(() => isDrained(this.#context.redis, this.#options), {
      what: 'everything is stored',
      timeoutMs: 300_000,
      intervalMs: 20,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([
      ...this.#producers.map((producer) => producer.stop()),
      ...this.#workers.map((worker) => worker.kill()),
    ])
  }

  /** Empties the table, unless it keeps, and Redis but for the streams and their groups: the workers read on. */
  async clear(): Promise<void> {
    const { redis, pool } = this.#context
    const match = correlationKey('*', this.#options.namespace)
    for await (const keys of redis.scanStream({ match, count: 5_000 }) as AsyncIterable<string[]>)
      if (keys.length > 0) await redis.unlink(...keys)
    if (!this.#options.keep) await pool.query(`truncate ${this.#table}`)
    await pool.query('checkpoint')
  }

  async #cpuMs(): Promise<{ redis: number; postgres: number; workers: number }> {
    const { redis, pool } = this.#context
    return {
      redis: await redisCpuMs(redis),
      postgres: await postgresCpuMs(pool),
      workers: this.workerPids.reduce((sum, pid) => sum + processCpuMs(pid), 0),
    }
  }
}

/** The same database, for sessions whose commits do not wait for the disk. */
function asyncCommit(databaseUrl: string): string {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c synchronous_commit=off')
  return url.href
}

type Place = Pick<PipelineOptions, 'namespace' | 'shards'>

const keysOf = ({ namespace, shards }: Place) =>
  Array.from({ length: shards }, (_, shard) => shardKeys(namespace, shard))

async function isDrained(redis: Redis, place: Place): Promise<boolean> {
  // In this order: what is acked can still be open.
  for (const keys of keysOf(place))
    if (!(await isAcked(redis, keys.events)) || (await redis.exists(keys.due)) > 0) return false
  return true
}

async function isFolded(redis: Redis, place: Place, traces: number): Promise<boolean> {
  let open = 0
  for (const keys of keysOf(place)) {
    if (!(await isAcked(redis, keys.events))) return false
    open += await redis.zcard(keys.due)
  }
  return open === traces
}

async function isAcked(redis: Redis, events: string): Promise<boolean> {
  // In this order: what is delivered can still be pending.
  // Nor is the last entry read to know its id: it has hundreds of runs, and who asks takes from the machine that is measured.
  const stream = (await redis.xinfo('STREAM', events)) as unknown[]
  const [group] = (await redis.xinfo('GROUPS', events)) as unknown[][]
  const last = stream[stream.indexOf('last-generated-id') + 1]
  if (group?.[group.indexOf('last-delivered-id') + 1] !== last) return false
  const [pending] = (await redis.xpending(events, GROUP)) as [number]
  return Number(pending) === 0
}
