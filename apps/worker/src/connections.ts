import { InvalidInputError } from '@stepwell/protocol'
import { type Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisLike } from './script.ts'

/** Redis as a URL, as options of ioredis, or a connection to copy: `createWorker` makes its own from it. */
export type RedisConfig = string | RedisOptions | Redis | Cluster

/**
 * A half-open connection shows by silence only: without this a blocked read would hang for ever. Longer than the longest
 * blocking read (BullMQ's 10 s).
 */
const SOCKET_TIMEOUT_MS = 15_000

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
    redis.on('error', onTrouble)
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
  if (!/^rediss?:\/\//.test(config))
    throw new InvalidInputError(`'${config.slice(0, 40)}' is no Redis URL: use redis://host:6379`)
  return new Redis(config, options)
}
