import { correlationKey, shardKeys } from '@stepwell/protocol'
import type { Redis } from 'ioredis'

/** Bytes that Redis holds for each of something. */
export type RedisBytes = Record<'event' | 'correlationKey' | 'openTrace', number>

/**
 * Weighs by taking away: what Redis uses less after the frames are gone belonged to them, then the correlation keys, then the open
 * traces. Nobody else may write meanwhile.
 */
export async function weighOpenTraces(
  redis: Redis,
  namespace: string,
  counts: { events: number; traces: number },
): Promise<RedisBytes> {
  const { events, due } = shardKeys(namespace, 0)
  const full = await usedMemory(redis)
  await redis.xtrim(events, 'MAXLEN', 0)
  const withoutFrames = await usedMemory(redis)
  await removeAll(redis, correlationKey('*', namespace))
  const withoutCorrelation = await usedMemory(redis)
  await removeAll(redis, `${namespace}:{0}:open*`)
  await redis.del(due)
  const empty = await usedMemory(redis)
  return {
    event: (full - withoutFrames) / counts.events,
    correlationKey: (withoutFrames - withoutCorrelation) / counts.traces,
    openTrace: (withoutCorrelation - empty) / counts.traces,
  }
}

/** Bytes that a stream takes. */
export async function streamBytes(redis: Redis, namespace: string): Promise<number> {
  return Number(await redis.memory('USAGE', shardKeys(namespace, 0).events, 'SAMPLES', 0))
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

// DEL, not UNLINK: that would free it later.
async function removeAll(redis: Redis, match: string): Promise<void> {
  for await (const keys of redis.scanStream({ match, count: 1_000 }) as AsyncIterable<string[]>)
    if (keys.length > 0) await redis.del(...keys)
}
