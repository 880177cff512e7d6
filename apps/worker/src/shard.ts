import { type ShardKeys, shardKeys } from '@stepwell/protocol'
import type { RedisLike } from './script.ts'

/** One stream with what belongs to it, as this worker holds it. */
export interface Shard {
  index: number
  keys: ShardKeys
  /** Entries that this worker has read and not acked yet, by id. */
  inHand: Map<string, Ticket>
}

/** A stream entry in hand. It is acked when all its parts are durable. */
export interface Ticket {
  shard: Shard
  id: string
  /** Who sent it; empty while it is not decoded. */
  producer: string
  /** Parts that are not durable yet. */
  open: number
  /** Whether a part went to the dead letters. */
  dead: boolean
}

/** The shards of a namespace. */
export function makeShards(namespace: string, count: number): Shard[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    keys: shardKeys(namespace, index),
    inHand: new Map(),
  }))
}

/** Milliseconds in a stream entry's id: the time of its XADD, by the clock of Redis. */
export const entryMs = (entryId: string): number => Number(entryId.slice(0, entryId.indexOf('-')))

/** The same with the place within the millisecond as its fraction: of two entries the later one has the greater. */
export const entryTimeMs = (entryId: string): number =>
  entryMs(entryId) + Math.min(999, Number(entryId.slice(entryId.indexOf('-') + 1))) / 1_000

/** The clock of Redis, milliseconds since 1970. */
export async function redisNowMs(redis: RedisLike): Promise<number> {
  const [seconds, micros] = (await redis.time()) as unknown as [string | number, string | number]
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}
