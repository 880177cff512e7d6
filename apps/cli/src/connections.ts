import { TraceQuery } from '@stepwell/query'
import { openDatabase, TraceStorage } from '@stepwell/storage'
import { Redis } from 'ioredis'
import type { Environment } from './config.ts'
import { Failure, UsageError } from './errors.ts'

/** The connections of a command, made when they are first asked for. */
export interface Connections extends AsyncDisposable {
  query(): TraceQuery
  storage(): TraceStorage
  database(): ReturnType<typeof openDatabase>
  /** Connected. Rejects with Failure where Redis cannot be reached. */
  redis(): Promise<Redis>
  /** The same, or undefined where REDIS_URL is not set. */
  redisIfSet(): Promise<Redis | undefined>
  databaseUrl(): string
}

/** Opens connections as the environment says. The caller disposes of them. */
export function openConnections(env: Environment): Connections {
  const closing: (() => unknown)[] = []
  const schema = env.STEPWELL_SCHEMA === undefined ? {} : { schema: env.STEPWELL_SCHEMA }
  const databaseUrl = (): string => {
    if (env.DATABASE_URL !== undefined) return env.DATABASE_URL
    throw new UsageError(
      'DATABASE_URL is not set: it says where the traces are, like postgres://user@host:5432/name',
    )
  }
  const kept = <T>(open: () => T, close: (opened: T) => unknown): (() => T) => {
    let opened: { value: T } | undefined
    return () => {
      if (opened === undefined) {
        const value = open()
        opened = { value }
        closing.push(() => close(value))
      }
      return opened.value
    }
  }
  const redis = kept(
    () => openRedis(env.REDIS_URL),
    (opening) => opening.then((one) => one.disconnect()).catch(() => {}),
  )
  return {
    databaseUrl,
    query: kept(
      () => new TraceQuery(databaseUrl(), { ...schema, maxConnections: 2 }),
      (query) => query.close(),
    ),
    storage: kept(
      () => new TraceStorage(databaseUrl(), schema),
      (storage) => storage.close(),
    ),
    database: kept(
      () => openDatabase({ connectionString: databaseUrl(), max: 2 }, env.STEPWELL_SCHEMA),
      (database) => database.close(),
    ),
    redis,
    redisIfSet: async () => (env.REDIS_URL === undefined ? undefined : redis()),
    async [Symbol.asyncDispose]() {
      await Promise.all(closing.map((close) => close()))
    },
  }
}

async function openRedis(url: string | undefined): Promise<Redis> {
  if (url === undefined) {
    throw new UsageError('REDIS_URL is not set: it says where producers write, like redis://host:6379')
  }
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 5_000,
    maxRetriesPerRequest: 20,
    retryStrategy: (times) => Math.min(1_000, 50 * times),
  })
  let reason: Error | undefined
  redis.on('error', (error: Error) => {
    reason = error
  })
  try {
    await redis.connect()
  } catch (error) {
    redis.disconnect()
    const { host, port } = redis.options
    throw new Failure(
      `Redis cannot be reached at ${host}:${port} (${(reason ?? (error as Error)).message}): is it running, and is REDIS_URL right?`,
    )
  }
  return redis
}
