import { parseRedisUrl, type RedisPlace, redisHosts } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { type Database, openDatabase, TraceStorage } from '@stepwell/storage'
import { Cluster, Redis } from 'ioredis'
import type { Environment } from './config.ts'
import { Failure, UsageError } from './errors.ts'

/** One Redis, or a cluster. */
export type RedisLike = Redis | Cluster

/** The connections of a command, made when they are first asked for. */
export interface Connections extends AsyncDisposable {
  /** For reading: the replica, where there is one. What it answers may be a moment old. */
  query(): TraceQuery
  /** For reading what decides something: always the primary. */
  primaryQuery(): TraceQuery
  storage(): TraceStorage
  /** The primary. */
  database(): Database
  /** Its replica, where there is one; else the primary. */
  reading(): Database
  /** The replica; undefined where there is none. */
  replicaIfSet(): Database | undefined
  /** Connected. Rejects with Failure where Redis cannot be reached. */
  redis(): Promise<RedisLike>
  /** The same, or undefined where REDIS_URL is not set. */
  redisIfSet(): Promise<RedisLike | undefined>
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
  const closeIt = (one: { close(): Promise<void> }): Promise<void> => one.close()
  const openQuery = (url: string): TraceQuery => new TraceQuery(url, { ...schema, maxConnections: 2 })
  const openPostgres = (url: string): Database =>
    openDatabase({ connectionString: url, max: 2 }, env.STEPWELL_SCHEMA, { connectMs: 10_000 })
  const primaryQuery = kept(() => openQuery(databaseUrl()), closeIt)
  const database = kept(() => openPostgres(databaseUrl()), closeIt)
  const { DATABASE_REPLICA_URL: replicaUrl } = env
  const replica = replicaUrl === undefined ? undefined : kept(() => openPostgres(replicaUrl), closeIt)
  return {
    databaseUrl,
    query: replicaUrl === undefined ? primaryQuery : kept(() => openQuery(replicaUrl), closeIt),
    primaryQuery,
    storage: kept(() => new TraceStorage(databaseUrl(), schema), closeIt),
    database,
    reading: replica ?? database,
    replicaIfSet: () => replica?.(),
    redis,
    redisIfSet: async () => (env.REDIS_URL === undefined ? undefined : redis()),
    async [Symbol.asyncDispose]() {
      await Promise.all(closing.map((close) => close()))
    },
  }
}

async function openRedis(url: string | undefined): Promise<RedisLike> {
  if (url === undefined) {
    throw new UsageError('REDIS_URL is not set: it says where producers write, like redis://host:6379')
  }
  const place = parseRedisUrl(url)
  const redis = makeRedis(place)
  let reason: Error | undefined
  redis.on('error', (error: Error & { lastNodeError?: Error }) => {
    reason = error.lastNodeError ?? error
  })
  try {
    await inTime(redis.connect())
  } catch (error) {
    redis.disconnect()
    throw new Failure(
      `Redis cannot be reached at ${redisHosts(place)} (${(reason ?? (error as Error)).message}): is it running, and is REDIS_URL right?`,
    )
  }
  if (place.kind === 'single' && (await isClusterNode(redis))) {
    redis.disconnect()
    throw new Failure(
      `Redis at ${redisHosts(place)} is a node of a Redis Cluster: set REDIS_URL to redis+cluster://${redisHosts(place)}`,
    )
  }
  return redis
}

/** One that takes the connection and says nothing, for it stands still, would be waited for without end. */
function inTime<T>(connected: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it has not answered for ${READY_MS / 1_000} s`)), READY_MS)
  })
  return Promise.race([connected, late]).finally(() => clearTimeout(timer))
}

const READY_MS = 10_000

const OPTIONS = {
  lazyConnect: true,
  connectTimeout: 5_000,
  maxRetriesPerRequest: 20,
  retryStrategy: (times: number) => Math.min(1_000, 50 * times),
}

function makeRedis(place: RedisPlace): RedisLike {
  if (place.kind === 'single') return new Redis(place.url, OPTIONS)
  if (place.kind === 'sentinel') {
    return new Redis({
      ...place.redisOptions,
      ...OPTIONS,
      sentinelRetryStrategy: () => null,
      sentinelCommandTimeout: 2_000,
      reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    })
  }
  const { nodes, redisOptions, dnsLookup } = place
  return new Cluster(nodes, {
    lazyConnect: true,
    slotsRefreshTimeout: 5_000,
    // Through a fail-over: a redirection each 100 ms.
    maxRedirections: 100,
    ...(dnsLookup === undefined ? {} : { dnsLookup }),
    redisOptions: { ...redisOptions, connectTimeout: OPTIONS.connectTimeout },
  })
}

// Who may not ask for it (an ACL) learns it by the first refused key.
const isClusterNode = async (redis: RedisLike): Promise<boolean> =>
  /^cluster_enabled:1/m.test(await redis.info('cluster').catch(() => ''))
