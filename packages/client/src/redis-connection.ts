import { InvalidInputError } from '@stepwell/protocol'
import { Cluster, Redis, type RedisOptions } from 'ioredis'

/** A connection to Redis that the client may use: its own, or one that the host lends. */
export interface RedisConnection {
  redis: Redis | Cluster
  isReady(): boolean
  onReady(ready: () => void): void
  /** Tells what went wrong last; undefined while connected. */
  lastError(): Error | undefined
  /** What is asked of Redis goes through here: a connection that does not answer is given up. */
  answered<T>(reply: Promise<T>): Promise<T>
  hold(): void
  release(): void
  close(): Promise<void>
}

/** What stands for Redis in options: URL, options of ioredis, or a connection that is lent. */
export type RedisTarget = string | RedisOptions | Redis | Cluster

const RECONNECT_MAX_MS = 2_000
/** No answer for this long means that the connection is dead, whatever it looks like. */
const ANSWER_MAX_MS = 10_000

/** Opens a connection of our own, or takes a lent one as it is. Connects at once; never throws for what is outside. */
export function openRedis(target: RedisTarget): RedisConnection {
  return isConnection(target) ? lentConnection(target) : ownConnection(target)
}

// By what it can do, not by instanceof: the host may have an ioredis of its own.
function isConnection(target: RedisTarget): target is Redis | Cluster {
  if (target instanceof Redis || target instanceof Cluster) return true
  return typeof target === 'object' && 'xadd' in target && 'status' in target && 'on' in target
}

function lentConnection(redis: Redis | Cluster): RedisConnection {
  const listeners: (() => void)[] = []
  return {
    redis,
    // Only then nothing of ours can wait in its offline queue.
    isReady: () => redis.status === 'ready',
    onReady(ready) {
      redis.on('ready', ready)
      listeners.push(ready)
    },
    lastError: () =>
      redis.status === 'ready' ? undefined : new Error(`the lent connection is in state '${redis.status}'`),
    // Its owner decides how long to wait.
    answered: (reply) => reply,
    hold() {},
    release() {},
    async close() {
      for (const listener of listeners) redis.off('ready', listener)
    },
  }
}

/**
 * A connection that lets the process exit: its socket and timers do not keep it alive, unless held. ioredis's own reconnecting and
 * its `socketTimeout` would (their timers are not reachable), so those are switched off and done here. Connecting → ready → lost → (after a while)
 * connecting …; closed for good by `close`.
 */
function ownConnection(target: string | RedisOptions): RedisConnection {
  const ours = {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => null,
    connectTimeout: 5_000,
  } satisfies RedisOptions
  const redis = makeRedis(target, ours)
  let holds = 0
  let isClosed = false
  let attempts = 0
  let timer: NodeJS.Timeout | undefined
  let lastError: Error | undefined
  let unanswered = 0
  /** Monotonic clock when Redis last showed that it is there; undefined while nothing is asked of it. */
  let aliveAtMs: number | undefined

  const gotAnswer = (): void => {
    unanswered -= 1
    aliveAtMs = unanswered > 0 ? performance.now() : undefined
  }
  const watchdog = setInterval(() => {
    if (aliveAtMs === undefined || performance.now() - aliveAtMs < ANSWER_MAX_MS) return
    aliveAtMs = undefined
    redis.stream?.destroy(new Error(`Redis has not answered for ${ANSWER_MAX_MS / 1_000} s`))
  }, 1_000).unref()

  const applyHold = (): void => {
    if (holds > 0) {
      redis.stream?.ref?.()
      timer?.ref()
    } else {
      redis.stream?.unref?.()
      timer?.unref()
    }
  }
  const connect = (): void => {
    timer = undefined
    if (isClosed) return
    redis.connect().catch((error: Error) => {
      lastError = error
    })
    // The socket is made a little later, and not announced before it is connected.
    setImmediate(applyHold)
  }
  const reconnectLater = (): void => {
    if (isClosed || timer !== undefined) return
    const ceilingMs = Math.min(RECONNECT_MAX_MS, 50 * 2 ** Math.min(attempts++, 8))
    timer = setTimeout(connect, ceilingMs * (0.5 + Math.random() / 2))
    applyHold()
  }
  redis.on('error', (error: Error) => {
    lastError = error
  })
  redis.on('connect', () => {
    // What is asked next, who it is, is the library's.
    aliveAtMs = performance.now()
    applyHold()
  })
  redis.on('ready', () => {
    attempts = 0
    lastError = undefined
    aliveAtMs = undefined
    applyHold()
  })
  redis.on('end', reconnectLater)
  connect()
  return {
    redis,
    isReady: () => redis.status === 'ready',
    onReady: (ready) => redis.on('ready', ready),
    lastError: () => lastError,
    answered(reply) {
      unanswered += 1
      aliveAtMs ??= performance.now()
      reply.then(gotAnswer, gotAnswer)
      return reply
    },
    hold() {
      holds += 1
      applyHold()
    },
    release() {
      holds -= 1
      applyHold()
    },
    async close() {
      isClosed = true
      clearTimeout(timer)
      clearInterval(watchdog)
      redis.disconnect()
    },
  }
}

function makeRedis(target: string | RedisOptions, ours: RedisOptions & { retryStrategy: () => null }): Redis {
  try {
    return typeof target === 'string'
      ? new Redis<'legacy'>(target, Object.assign({ replyMapping: 'legacy' as const }, ours))
      : new Redis<'legacy'>(Object.assign({ replyMapping: 'legacy' as const }, target, ours))
  } catch (error) {
    throw new InvalidInputError(`Option 'redis' cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
