import { migrateToLatest } from '@stepwell/storage'
import { leaseRedisDatabase, startServices } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import pg from 'pg'
import { clientCost } from './client-cost.ts'
import { growth } from './growth.ts'
import { type Benchmark, describeMachine, type Figure } from './harness.ts'
import { ingest } from './ingest.ts'
import { ingestPeers } from './ingest-peers.ts'
import { ingestWorkers } from './ingest-workers.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { query } from './query.ts'
import { redaction } from './redaction.ts'
import { retention } from './retention.ts'
import { similar } from './similar.ts'
import { singleCalls } from './single-calls.ts'
import { statedSpeeds } from './stated-speeds.ts'
import { storageForm } from './storage-form.ts'

/** The benchmarks, by the names that they are asked for by. */
export const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  client: clientCost,
  calls: singleCalls,
  ingest,
  peers: ingestPeers,
  workers: ingestWorkers,
  latency,
  memory,
  growth,
  query,
  retention,
  similar,
  stated: statedSpeeds,
  redaction,
  storage_form: storageForm,
}

/** How much to do. */
export interface RunOptions {
  scale: number
  rounds: number
  traces: number | undefined
}

/** What one benchmark gave, and on what. */
export interface RunRecord {
  /** Date and time, ISO 8601. */
  at: string
  machine: Record<string, unknown>
  settings: Record<string, unknown>
  figures: Figure[]
  notes: string[]
}

/** Runs a benchmark on servers of its own: Redis and Postgres that keep what they acknowledge, migrated and empty. */
export async function runBenchmark(name: string, options: RunOptions): Promise<RunRecord> {
  const benchmark = BENCHMARKS[name]
  if (benchmark === undefined) throw new Error(`there is no benchmark '${name}'`)
  const at = new Date().toISOString()
  const services = await startServices({ durable: true })
  try {
    const databaseUrl = services.postgres.url
    await migrateToLatest({ connectionString: databaseUrl })
    const redisUrl = await leaseRedisDatabase(services.redis.url)
    const redis = new Redis(redisUrl)
    const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 })
    // When a benchmark fails the servers stop under it, and what went wrong must be seen, not this.
    pool.on('error', () => {})
    try {
      // As docs/OPERATIONS.md recommends for thousands of runs a second.
      await redis.config('SET', 'auto-aof-rewrite-min-size', '1gb')
      const notes: string[] = []
      const note = (text: string): number => notes.push(text)
      const settings = { ...(await readSettings(redis, pool)), ...options }
      const figures = await benchmark({ services, redisUrl, databaseUrl, redis, pool, note, ...options })
      return { at, machine: describeMachine(), settings, figures, notes }
    } finally {
      redis.disconnect()
      await pool.end()
    }
  } finally {
    await services.stop()
  }
}

async function readSettings(redis: Redis, pool: pg.Pool): Promise<Record<string, unknown>> {
  const { rows } = await pool.query(
    `select current_setting('server_version') as postgres, current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as synchronous_commit, current_setting('shared_buffers') as shared_buffers`,
  )
  const version = /^redis_version:(.*)$/m.exec(await redis.info('server'))?.[1]?.trim()
  const [, appendonly] = (await redis.config('GET', 'appendonly')) as string[]
  const [, appendfsync] = (await redis.config('GET', 'appendfsync')) as string[]
  const [, rewritten] = (await redis.config('GET', 'auto-aof-rewrite-min-size')) as string[]
  const auto_aof_rewrite_min_size = `${Number(rewritten) / 2 ** 20} MiB`
  return { ...rows[0], redis: version, appendonly, appendfsync, auto_aof_rewrite_min_size }
}
