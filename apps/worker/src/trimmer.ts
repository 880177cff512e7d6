import { readEnds, readProgress } from './group.ts'
import type { RedisLike } from './script.ts'
import { entryMs, isFull, type Shard } from './shard.ts'

/** What stays in a stream after it was dealt with, for the live tail: the last minute, but at most 64 MiB; nothing while Redis is full. */
export const LIVE_WINDOW_MS = 60_000
export const LIVE_WINDOW_BYTES = 64 << 20

/**
 * Trims a stream up to where everything was read and acked, leaving the live window. By id (MINID), never by length: a
 * length would cut what is unread. Never XDEL: it makes the group's lag unknown. Returns how many entries went.
 */
export async function trim(redis: RedisLike, shard: Shard, nowMs: number): Promise<number> {
  const stream = shard.keys.events
  const progress = await readProgress(redis, shard)
  if (progress === undefined || progress.lastDeliveredId === '0-0') return 0
  const consumedId = progress.oldestPendingId ?? progress.lastDeliveredId
  const windowMs = isFull(shard, nowMs)
    ? Number.POSITIVE_INFINITY
    : Math.max(nowMs - LIVE_WINDOW_MS, await windowStartBySize(redis, shard))
  // Up to a whole entry id only where that is older than the window; else up to the window's first millisecond.
  const minId = entryMs(consumedId) <= windowMs ? consumedId : String(Math.max(0, Math.floor(windowMs)))
  return redis.xtrim(stream, 'MINID', '~', minId)
}

/** Where the last LIVE_WINDOW_BYTES begin, supposing that entries are spread evenly over time; the next round corrects it. */
async function windowStartBySize(redis: RedisLike, shard: Shard): Promise<number> {
  const size = Number(await redis.memory('USAGE', shard.keys.events))
  if (!(size > LIVE_WINDOW_BYTES)) return 0
  const { firstId, lastId } = await readEnds(redis, shard)
  const firstMs = entryMs(firstId ?? lastId)
  const lastMs = entryMs(lastId)
  return lastMs - (lastMs - firstMs) * (LIVE_WINDOW_BYTES / size)
}
