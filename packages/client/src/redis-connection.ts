import type { Socket } from 'node:net'
import { InvalidInputError, parseRedisUrl, type RedisPlace } from '@stepwell/protocol'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { WrittenDeltas } from './written-deltas.ts'
import { Xadd } from './xadd.ts'

/** A connection to Redis that the client may use: its own, or one that the host lends. */
export interface RedisConnection {
  redis: Redis | Cluster
  isReady(): boolean
  onReady(ready: () => void): void
  /** Tells what went wrong last; undefined while connected. */
  lastError(): Error | undefined
  /** What is asked of Redis goes through here: a connection that does not answer is given up. */
  answered<T>(reply: Promise<T>): Promise<T>
  /** Adds an entry to a stream whose last value is these deltas. Like what is asked through `answered`. */
  add(stream: string, fields: readonly string[], deltas: WrittenDeltas): Promise<void>
  hold(): void
  release(): void
  close(): Promise<void>
}

/** What stands for Redis in options: URL, options of ioredis, or a connection that is lent. */
export type RedisTarget = string | RedisOptions | Redis | Cluster

/** Milliseconds until the first try to connect again, and at most: doubling, half of it random. */
const RECONNECT_MS = { first: 50, most: 2_000 }
/** The library holds the process for 2 s after each look at a sentinel (its `disconnectTimeout`): longer pauses let an idle one end. */
const RECONNECT_IDLE_SENTINEL_MS = { first: 500, most: 4_500 }
/** No answer for this long means that the connection is dead, whatever it looks like. */
const ANSWER_MAX_MS = 10_000

/** Opens a connection of our own, or takes a lent one as it is. Connects at once; never throws for what is outside. */
export function openRedis(target: RedisTarget): RedisConnection {
  return isConnection(target) ? lentConnection(target) : ownConnection(makeRedis(target))
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
    async add(stream, fields, deltas) {
      await redis.xadd(stream, '*', ...fields, deltas.text)
    },
    hold() {},
    release() {},
    async close() {
      for (const listener of listeners) redis.off('ready', listener)
    },
  }
}

/**
 * A connection that lets the process exit: its sockets and timers do not keep it alive, unless held. ioredis's own reconnecting and
 * its `socketTimeout` would (their timers are not reachable), so those are switched off and done here. Connecting → ready → lost → (after a while)
 * connecting …; closed for good by `close`. Of a cluster ready means that its slots are known; which nodes answer is the library's to find out.
 */
function ownConnection(redis: Redis | Cluster): RedisConnection {
  const isSentinel = !('nodes' in redis) && redis.options.sentinels
  let holds = 0
  let isClosed = false
  let attempts = 0
  let timer: NodeJS.Timeout | undefined
  let lastError: Error | undefined
  /** When each thing was asked that has no answer yet, oldest first. Monotonic clock. */
  const askedAtMs = new Set<{ atMs: number }>()

  /** The connections' sockets; from now on somebody listens for their errors. */
  const sockets = (): Socket[] => {
    const nodes = 'nodes' in redis ? redis.nodes() : [redis]
    const all = nodes
      .map((node) => node.stream as Socket | undefined)
      .filter((socket) => socket !== undefined)
    for (const socket of all) if (!socket.listeners('error').includes(ignore)) socket.on('error', ignore)
    return all
  }
  const applyHold = (): void => {
    for (const socket of sockets()) {
      if (holds > 0) socket.ref?.()
      else socket.unref?.()
    }
    if (holds > 0) timer?.ref()
    else timer?.unref()
  }
  // The socket is made a little later, and not announced before it is connected.
  const applyHoldSoon = (): void => {
    setImmediate(applyHold)
  }

  // Of what the library asks by itself while it connects, nobody tells us: it counts as asked.
  let connecting: { atMs: number } | undefined
  const connectingSince = (since: { atMs: number } | undefined): void => {
    if (connecting !== undefined) askedAtMs.delete(connecting)
    connecting = since
    if (since !== undefined) askedAtMs.add(since)
  }
  const heard = new WeakMap<Socket, { bytes: number; atMs: number }>()
  const watchdog = setInterval(() => {
    const nowMs = performance.now()
    const isLate = nowMs - (askedAtMs.values().next().value?.atMs ?? nowMs) >= ANSWER_MAX_MS
    for (const socket of sockets()) {
      const before = heard.get(socket)
      if (before?.bytes !== socket.bytesRead) heard.set(socket, { bytes: socket.bytesRead, atMs: nowMs })
      else if (isLate && nowMs - before.atMs >= ANSWER_MAX_MS)
        socket.destroy(new Error(`Redis has not answered for ${ANSWER_MAX_MS / 1_000} s`))
    }
  }, 1_000).unref()

  const connect = (): void => {
    timer = undefined
    if (isClosed) return
    redis.connect().catch((error: Error) => {
      // That it is closed; why was said before.
      lastError ??= error
    })
    applyHoldSoon()
  }
  const reconnectLater = (): void => {
    connectingSince(undefined)
    if (isClosed || timer !== undefined) return
    const pauses = isSentinel && holds === 0 ? RECONNECT_IDLE_SENTINEL_MS : RECONNECT_MS
    const ceilingMs = Math.min(pauses.most, pauses.first * 2 ** Math.min(attempts++, 8))
    timer = setTimeout(connect, ceilingMs * (0.5 + Math.random() / 2))
    applyHold()
  }
  redis.on('error', (error: Error & { lastNodeError?: Error }) => {
    lastError = error.lastNodeError ?? error
  })
  redis.on('connect', () => {
    connectingSince({ atMs: performance.now() })
    applyHold()
  })
  redis.on('ready', () => {
    attempts = 0
    lastError = undefined
    connectingSince(undefined)
    applyHold()
  })
  redis.on('end', reconnectLater)
  // Only clusters have nodes that come and go.
  redis.on('+node', (node: Redis) => {
    node.on('connecting', applyHoldSoon)
    node.on('connect', applyHold)
  })
  const answered = async <T>(reply: Promise<T>): Promise<T> => {
    const asked = { atMs: performance.now() }
    askedAtMs.add(asked)
    try {
      return await reply
    } catch (error) {
      throw isRedirection(error) ? new Error(CLUSTER_ADVICE) : error
    } finally {
      askedAtMs.delete(asked)
    }
  }
  connect()
  return {
    redis,
    isReady: () => redis.status === 'ready',
    onReady: (ready) => redis.on('ready', ready),
    lastError: () => lastError,
    answered,
    async add(stream, fields, deltas) {
      const command = new Xadd(stream, fields, deltas, redis.options.keyPrefix)
      await answered(redis.sendCommand(command) as Promise<unknown>)
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
      // Those that it has not seen yet: they are about to be broken off.
      sockets()
      redis.disconnect()
    },
  }
}

// The library listens for one error of a socket, and then for none. A TLS handshake that is broken off can be answered by an alert
// after that, and an error that nobody listens for ends the host.
const ignore = (): void => {}

const CLUSTER_ADVICE = 'it is a node of a Redis Cluster: give it as redis+cluster://host:port'

// A cluster's own connection follows those by itself.
const isRedirection = (error: unknown): boolean =>
  error instanceof Error && error.name === 'ReplyError' && /^(MOVED|ASK) /.test(error.message)

const OURS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => null,
  connectTimeout: 5_000,
  replyMapping: 'legacy' as const,
}

function makeRedis(target: string | RedisOptions): Redis | Cluster {
  try {
    if (typeof target !== 'string') return new Redis<'legacy'>({ ...target, ...OURS })
    const place = parseRedisUrl(target)
    if (place.kind === 'single') return new Redis<'legacy'>(place.url, OURS)
    return place.kind === 'sentinel' ? makeSentinel(place.redisOptions) : makeCluster(place)
  } catch (error) {
    throw new InvalidInputError(`Option 'redis' cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

function makeSentinel(redisOptions: RedisOptions): Redis {
  return new Redis<'legacy'>({
    ...redisOptions,
    ...OURS,
    sentinelRetryStrategy: () => null,
    sentinelCommandTimeout: 1_000,
    // A master that has become a replica: ask the sentinels again.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  })
}

function makeCluster(place: RedisPlace & { kind: 'cluster' }): Cluster {
  const { nodes, redisOptions, dnsLookup } = place
  return new Cluster(nodes, {
    lazyConnect: true,
    clusterRetryStrategy: () => null,
    slotsRefreshTimeout: 2_000,
    ...(dnsLookup === undefined ? {} : { dnsLookup }),
    redisOptions: {
      ...redisOptions,
      connectTimeout: OURS.connectTimeout,
      // Its timer holds the process, and is set even for a connection that never came about.
      disconnectTimeout: 100,
      replyMapping: OURS.replyMapping,
    },
  }) as Cluster
}
