import { GROUP, replyFields } from '@stepwell/protocol'
import { type RedisLike, redisCode, Script } from './script.ts'
import { entryMs, redisNowMs, type Shard } from './shard.ts'

/** How far a group has come. Ids as Redis writes them. */
export interface GroupProgress {
  /** Entries delivered and not acked. */
  pending: number
  oldestPendingId: string | undefined
  lastDeliveredId: string
  /** Entries not delivered yet; where Redis does not tell how many (before 7, or after deletions) 1 if there are any. */
  lag: number
}

// KEYS: stream. ARGV: group. Without the group nobody would read, and a full Redis stay full.
const groupScript = new Script(`return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')`, {
  whenFull: true,
})

/** Makes the group, from the very first entry on, and the stream with it. Idempotent. */
export async function ensureGroup(redis: RedisLike, shard: Shard): Promise<void> {
  try {
    await groupScript.run(redis, [shard.keys.events], [GROUP])
  } catch (error) {
    if (redisCode(error) !== 'BUSYGROUP') throw error
  }
}

/** How far our group has come on a shard; undefined while there is no group. */
export async function readProgress(redis: RedisLike, shard: Shard): Promise<GroupProgress | undefined> {
  const stream = shard.keys.events
  try {
    const [groups, pending] = await Promise.all([
      redis.xinfo('GROUPS', stream) as Promise<unknown[]>,
      redis.xpending(stream, GROUP) as Promise<[number, string | null, ...unknown[]]>,
    ])
    const group = groups.map(replyFields).find((g) => g.get('name') === GROUP)
    if (group === undefined) return undefined
    const lastDeliveredId = String(group.get('last-delivered-id'))
    const lag = group.get('lag') ?? Number((await readEnds(redis, shard)).lastId !== lastDeliveredId)
    return {
      pending: Number(pending[0]),
      oldestPendingId: pending[1] ?? undefined,
      lastDeliveredId,
      lag: Number(lag),
    }
  } catch (error) {
    if (redisCode(error) === 'ERR' || redisCode(error) === 'NOGROUP') return undefined
    throw error
  }
}

// KEYS: stream. In a script, for XINFO STREAM answers with the first and the last entry, whole, and those may be large.
const endsScript = new Script(`
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local first, last = false, false
for i = 1, #stream, 2 do
  if stream[i] == 'first-entry' and stream[i + 1] then first = stream[i + 1][1]
  elseif stream[i] == 'last-generated-id' then last = stream[i + 1] end
end
return {first, last}`)

/** Ids of the first entry that is there, if one is, and of the last that ever was. For seldom use: Redis reads both entries for it. */
export async function readEnds(
  redis: RedisLike,
  { keys }: Shard,
): Promise<{ firstId: string | undefined; lastId: string }> {
  const [first, last] = (await endsScript.run(redis, [keys.events], [])) as [string | null, string]
  return { firstId: first ?? undefined, lastId: last }
}

/** Whether Redis takes writes of this shard: when it is full it refuses this one, which changes nothing. */
export async function takesWrites(redis: RedisLike, { keys }: Shard): Promise<boolean> {
  try {
    await redis.zadd(keys.producers, 'XX', 0, '')
    return true
  } catch (error) {
    if (redisCode(error) === 'OOM') return false
    throw error
  }
}

/** A consumer that has not asked for entries for this long does not read: who waits for them asks every second. */
const READS_WITHIN_MS = 10_000

/** Whether nobody but this consumer reads the shard, as far as one can tell. */
export async function isAlone(redis: RedisLike, { keys }: Shard, consumer: string): Promise<boolean> {
  try {
    const consumers = ((await redis.xinfo('CONSUMERS', keys.events, GROUP)) as unknown[]).map(replyFields)
    return consumers.every((one) => one.get('name') === consumer || Number(one.get('idle')) > READS_WITHIN_MS)
  } catch (error) {
    if (redisCode(error) === 'ERR' || redisCode(error) === 'NOGROUP') return false
    throw error
  }
}

/** Whether everything in the stream was delivered and acked. */
export const isCaughtUp = (p: GroupProgress): boolean => p.pending === 0 && p.lag === 0

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
