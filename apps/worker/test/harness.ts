import { GROUP, shardKeys } from '@stepwell/protocol'
import type { TestDatabase } from '@stepwell/testkit'
import { waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker, type StepwellWorker, type WorkerOptions } from '@stepwell/worker'
import { Redis } from 'ioredis'
import pg from 'pg'
import { pino } from 'pino'

/** What a test file of the worker has: a Redis and a Postgres database of its own. */
export interface Bench extends AsyncDisposable {
  redis: Redis
  redisUrl: string
  database: TestDatabase
  pool: pg.Pool
  /** Starts a worker in this process; it is closed with the bench. */
  startWorker(options?: Partial<WorkerOptions>): Promise<StepwellWorker>
  rows<T = Record<string, unknown>>(query: string, values?: unknown[]): Promise<T[]>
  /** Resolves when the shard has no lag, nothing pending, and nothing open or due. */
  drained(): Promise<void>
}

/** Sets a bench up. `await using` closes workers, connections and the database. */
export async function makeBench(): Promise<Bench> {
  const [redisUrl, database] = await Promise.all([redisForFile(), createDatabase()])
  const redis = new Redis(redisUrl)
  const pool = new pg.Pool({ connectionString: database.url })
  // The database is dropped under connections that may still be closing.
  pool.on('error', () => {})
  const workers: StepwellWorker[] = []
  const keys = shardKeys('stepwell', 0)
  return {
    redis,
    redisUrl,
    database,
    pool,
    async startWorker(options = {}) {
      const log = pino({ level: 'silent' })
      const worker = await createWorker({
        redis: redisUrl,
        database: database.url,
        migrate: false,
        log,
        ...options,
      })
      workers.push(worker)
      return worker
    },
    async rows(query, values) {
      return (await pool.query(query, values)).rows
    },
    async drained() {
      await waitFor(
        async () => {
          // In this order: what is delivered can still be pending, what is acked can still be open.
          const [last] = (await redis.xrevrange(keys.events, '+', '-', 'COUNT', 1)) as [string, string[]][]
          const [group] = (await redis.xinfo('GROUPS', keys.events)) as unknown[][]
          const delivered = group?.[(group?.indexOf('last-delivered-id') ?? 0) + 1]
          if (last !== undefined && delivered !== last[0]) return false
          const [pending] = (await redis.xpending(keys.events, GROUP)) as [number]
          return Number(pending) === 0 && (await redis.keys('stepwell:{0}:[do]*')).length === 0
        },
        { what: 'the stream is worked off and nothing is open' },
      )
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.close()))
      redis.disconnect()
      await pool.end()
      await database.drop()
    },
  }
}
