import { InvalidInputError, parseRedisUrl } from '@stepwell/protocol'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { type RedisLike, redisCode } from './script.ts'

/** Redis as a URL (also of a cluster or of sentinels), as options of ioredis, or a connection to copy: `createWorker` makes its own from it. */
export type RedisConfig = string | RedisOptions | Redis | Cluster

/**
 * A half-open connection shows by silence only: without this a blocked read would hang for ever. Longer than the longest
 * blocking read (BullMQ's 10 s).
 */
const SOCKET_TIMEOUT_MS = 15_000
const SENTINEL_TIMEOUT_MS = 2_000
/** A command to a cluster waits through a fail-over: a redirection each 100 ms. After that its caller begins again, and tells of it. */
const REDIRECTIONS_MAX = 100

/** Connections of one worker. */
export interface Connections {
  /** For everything that does not block. */
  main: RedisLike
  /** A further one, for blocking reads. */
  extra(): RedisLike
  /** Closes all of them, without waiting for replies. */
  disconnect(): void
}

/**
 * Opens the worker's connections, all its own: they retry for ever, and commands wait while Redis is away
 * (`maxRetriesPerRequest: null`, as BullMQ needs). Connecting happens behind the first command.
 */
export function openConnections(config: RedisConfig, onTrouble: (error: unknown) => void): Connections {
  const all: RedisLike[] = []
  const options = {
    maxRetriesPerRequest: null,
    socketTimeout: SOCKET_TIMEOUT_MS,
    enableReadyCheck: true as const,
    retryStrategy: (times: number) =>
      Math.min(2_000, 50 * 2 ** Math.min(times, 6)) * (0.5 + Math.random() / 2),
  } satisfies RedisOptions
  const open = (): RedisLike => {
    const redis = connect(config, options)
    // Connections say what is wrong with them again and again: the callers' own failures tell it once.
    redis.on('error', (error: Error & { lastNodeError?: Error }) => onTrouble(error.lastNodeError ?? error))
    all.push(redis)
    return redis
  }
  return {
    main: open(),
    extra: open,
    disconnect: () => {
      for (const redis of all) redis.disconnect()
    },
  }
}

type OwnOptions = {
  maxRetriesPerRequest: null
  socketTimeout: number
  enableReadyCheck: true
  retryStrategy: (times: number) => number
}

function connect(config: RedisConfig, options: OwnOptions): RedisLike {
  // By what they are called, not by instanceof: the host may have an ioredis of its own.
  if (typeof config === 'object' && 'nodes' in config)
    return config.duplicate(undefined, { redisOptions: options })
  if (typeof config === 'object' && 'duplicate' in config) return config.duplicate(options)
  if (typeof config !== 'string')
    return new Redis<'legacy'>(Object.assign({ replyMapping: 'legacy' as const }, config, options))
  const place = parseRedisUrl(config)
  if (place.kind === 'single') return new Redis(place.url, options)
  if (place.kind === 'sentinel') {
    return new Redis({
      ...place.redisOptions,
      ...options,
      sentinelRetryStrategy: options.retryStrategy,
      sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      // A master that has become a replica: ask the sentinels again, and send the command to whom they name.
      reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    })
  }
  const { nodes, redisOptions, dnsLookup } = place
  return new Cluster(nodes, {
    clusterRetryStrategy: options.retryStrategy,
    maxRedirections: REDIRECTIONS_MAX,
    ...(dnsLookup === undefined ? {} : { dnsLookup }),
    redisOptions: { ...redisOptions, ...options },
  })
}

/** Rejects with InvalidInputError where Redis cannot be used, and says why. */
export async function refuseUnusable(redis: RedisLike): Promise<void> {
  if ('nodes' in redis) return
  const info = await redis.info().catch((error: unknown) => {
    // Who may not ask learns it by the first refused key, or the first unknown command.
    if (redisCode(error) === 'NOPERM') return ''
    throw error
  })
  const reason = unusable(info)
  if (reason !== undefined) throw new InvalidInputError(reason)
}

const OLDEST_REDIS = [6, 2] as const

/**
 * What of a server's INFO keeps a connection to it from being used: it is too old, or a node of a cluster, where it would serve the keys
 * of some shards and refuse the others'.
 */
export function unusable(info: string): string | undefined {
  if (/^cluster_enabled:1/m.test(info))
    return 'Redis is a node of a Redis Cluster: name some of its nodes as redis+cluster://host:port,host:port'
  // Valkey too has it: the version of Redis that it is like.
  const version = /^redis_version:([\d.]+)/m.exec(info)?.[1]
  if (version === undefined) return undefined
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = major < OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor < OLDEST_REDIS[1])
  return isOld
    ? `Redis ${version} is too old: it takes ${OLDEST_REDIS.join('.')} or newer, or Valkey`
    : undefined
}
