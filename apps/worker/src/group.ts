import { GROUP, replyFields } from '@stepwell/protocol'
import type { RedisLike } from './script.ts'
import { redisCode } from './script.ts'
import { entryMs, redisNowMs, type Shard } from './shard.ts'

/** How far a group has come. Ids as Redis writes them. */
export interface GroupProgress {
  /** Entries delivered and not acked. */
  pending: number
  oldestPendingId: string | undefined
  lastDeliveredId: string
  lastEntryId: string
  /** Entries not delivered yet; undefined where Redis does not tell (before 7, or after deletions). */
  lag: number | undefined
}

/** Makes the group, from the very first entry on, and the stream with it. Idempotent. */
export async function ensureGroup(redis: RedisLike, shard: Shard): Promise<void> {
  try {
    await redis.xgroup('CREATE', shard.keys.events, GROUP, '0', 'MKSTREAM')
  } catch (error) {
    if (redisCode(error) !== 'BUSYGROUP') throw error
  }
}

/** How far our group has come on a shard; undefined while there is no group. */
export async function readProgress(redis: RedisLike, shard: Shard): Promise<GroupProgress | undefined> {
  const stream = shard.keys.events
  let replies: [unknown, unknown, unknown]
  try {
    replies = await Promise.all([
      redis.xinfo('GROUPS', stream),
      redis.xinfo('STREAM', stream),
      redis.xpending(stream, GROUP),
    ])
  } catch (error) {
    if (redisCode(error) === 'ERR' || redisCode(error) === 'NOGROUP') return undefined
    throw error
  }
  const group = (replies[0] as unknown[]).map(replyFields).find((g) => g.get('name') === GROUP)
  if (group === undefined) return undefined
  const pending = replies[2] as [number, string | null, ...unknown[]]
  const lag = group.get('lag')
  return {
    pending: Number(pending[0]),
    oldestPendingId: pending[1] ?? undefined,
    lastDeliveredId: String(group.get('last-delivered-id')),
    lastEntryId: String(replyFields(replies[1]).get('last-generated-id')),
    lag: lag === undefined || lag === null ? undefined : Number(lag),
  }
}

/** Whether everything in the stream was delivered and acked. */
export const isCaughtUp = (p: GroupProgress): boolean =>
  p.pending === 0 && p.lastDeliveredId === p.lastEntryId

/**
 * The time up to which everything that producers sent has been dealt with, by the clock of Redis: of the oldest entry in
 * work, else of the last one delivered, else now. A producer is silent relative to this, not to the wall: its frames may
 * wait in a backlog.
 */
export async function watermarkMs(redis: RedisLike, shard: Shard): Promise<number> {
  const progress = await readProgress(redis, shard)
  if (progress === undefined || isCaughtUp(progress)) return redisNowMs(redis)
  return entryMs(progress.oldestPendingId ?? progress.lastDeliveredId)
}
