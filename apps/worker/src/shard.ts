import { type ShardKeys, shardKeys } from '@stepwell/protocol'
import { Gathering } from './gathering.ts'
import type { RedisLike } from './script.ts'

/** One stream with what belongs to it, as this worker holds it. */
export interface Shard {
  index: number
  keys: ShardKeys
  /** Entries that this worker has read and not acked yet, by id. */
  inHand: Map<string, Ticket>
  gathering: Gathering
  /** Since when this worker has seen Redis take writes (Date.now()); undefined while it is away or full. */
  writableSinceMs: number | undefined
  /** When Redis was last seen to be full, or nearly (Date.now()). */
  fullAtMs: number | undefined
}

/** A stream entry in hand. It is acked when all its parts are durable. */
export interface Ticket {
  shard: Shard
  id: string
  /** Who sent it; empty while it is not decoded. */
  producer: string
  /** `<producer>:<frame>`; empty while it is not decoded. */
  field: string
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
    gathering: new Gathering(),
    writableSinceMs: undefined,
    fullAtMs: undefined,
  }))
}

/** Redis takes writes of this shard. */
export function noteWritable(shard: Shard, nowMs: number): void {
  shard.writableSinceMs ??= nowMs
}

/** Redis refuses writes of this shard because it is full. */
export function noteFull(shard: Shard, nowMs: number): void {
  shard.writableSinceMs = undefined
  shard.fullAtMs = nowMs
}

/** Redis does not answer. */
export function noteAway(shard: Shard): void {
  shard.writableSinceMs = undefined
}

/** What is freed is filled again at once: a Redis that was full counts as full for this long. */
const FULL_FOR_MS = 10_000

/** Whether Redis has no memory to spare for this shard. */
export const isFull = ({ fullAtMs }: Shard, nowMs: number): boolean =>
  fullAtMs !== undefined && nowMs - fullAtMs < FULL_FOR_MS

/** Whether a producer that was not heard of for `silenceMs` has been silent: only if Redis would have taken what it sends, all that time. */
export const wouldHaveHeard = ({ writableSinceMs }: Shard, silenceMs: number, nowMs: number): boolean =>
  writableSinceMs !== undefined && nowMs - writableSinceMs >= silenceMs

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
