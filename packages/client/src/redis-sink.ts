import {
  CORRELATION_TTL_S,
  correlationKey,
  encodeFrame,
  encodeFrameHead,
  shardKeys,
} from '@stepwell/protocol'
import { Backlog } from './backlog.ts'
import { FrameOfBytes } from './frame-of-bytes.ts'
import { openRedis, type RedisTarget } from './redis-connection.ts'
import type { Sink } from './sink.ts'

const LOOK_UP_MAX_MS = 1_000

/** Sends frames to Redis Streams: each with one XADD, many on their way at once. */
export function redisSink(
  target: RedisTarget,
  options: { namespace: string; shards: number; compression: 'none' | 'zstd'; backlogMaxBytes: number },
): Sink {
  const connection = openRedis(target)
  const { redis } = connection
  const { namespace } = options
  const streams = Array.from({ length: options.shards }, (_, shard) => shardKeys(namespace, shard).events)
  const backlog = new Backlog(connection, streams, options.backlogMaxBytes)
  return {
    async send(frame) {
      if (!connection.isReady()) throw connection.lastError() ?? new Error('not connected')
      const stream = streams[frame.shard] as string
      if (frame instanceof FrameOfBytes && options.compression === 'none') {
        const { written } = frame
        backlog.noteSent(written.length)
        await connection.add(stream, [...encodeFrameHead(frame), 'd'], written)
        return
      }
      const fields = encodeFrame(frame, options.compression)
      backlog.noteSent((fields.at(-1) as string).length)
      await connection.answered(redis.xadd(stream, '*', ...fields))
    },
    letsGo: true,
    together(send) {
      // One write of nine frames instead of nine: a tenth of all that a step takes. A cluster has no socket of its own.
      const socket = 'stream' in redis ? redis.stream : undefined
      socket?.cork()
      try {
        send()
      } finally {
        socket?.uncork()
      }
    },
    isReady: connection.isReady,
    isBackedUp: () => backlog.isHigh,
    onReady(ready) {
      connection.onReady(ready)
      backlog.onLow = ready
    },
    correlate(executionId, traceId) {
      if (!connection.isReady()) return
      // The worker sets it too: here it is only sooner.
      connection
        .answered(redis.set(correlationKey(executionId, namespace), traceId, 'EX', CORRELATION_TTL_S))
        .catch(() => {})
    },
    async lookUp(executionId) {
      if (!connection.isReady()) return undefined
      return (
        (await withinMs(
          LOOK_UP_MAX_MS,
          connection.answered(redis.get(correlationKey(executionId, namespace))),
        )) ?? undefined
      )
    },
    hold: connection.hold,
    release: connection.release,
    close() {
      backlog.close()
      return connection.close()
    },
  }
}

/** What the promise gives, or undefined if it fails or takes longer. */
export async function withinMs<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined)
  })
  try {
    return await Promise.race([promise.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}
