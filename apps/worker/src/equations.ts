import {
  type EntryEquation,
  entryEquation,
  type ProducerTotals,
  producerTotals,
  TOLD_FOR_MS,
  toldAtMs,
} from '@stepwell/protocol'
import type { ChainableCommander } from 'ioredis'
import { type RedisLike, redisCode } from './script.ts'
import { redisNowMs, type Shard } from './shard.ts'

/** The equations of design: what became of each shard's entries, and what all producers have counted. */
export interface Equations {
  /** Of a shard; undefined where Redis does not tell. */
  entries: (EntryEquation | undefined)[]
  producers: ProducerTotals
}

/** Reads what the equations are about; of each shard at one moment. What is not there, or is none of ours, is left out. */
export async function readEquations(redis: RedisLike, shards: readonly Shard[]): Promise<Equations> {
  const replies = await Promise.all(
    shards.map(({ keys }) => {
      const ask = (all: ChainableCommander) =>
        all.xinfo('GROUPS', keys.events).hgetall(keys.counts).hgetall(keys.told).exec()
      return ask(redis.multi()).catch((error: unknown) => {
        // A full Redis takes no MULTI. What comes in one piece it answers in one go all the same, as a rule.
        if (redisCode(error) === 'EXECABORT') return ask(redis.pipeline())
        throw error
      })
    }),
  )
  const told: Record<string, string>[] = []
  const entries = replies.map((reply) => {
    const [groups, counts, shardTold] = (reply ?? []).map(([error, value]) => (error ? undefined : value))
    if (shardTold !== undefined) told.push(shardTold as Record<string, string>)
    return entryEquation({ groups, counts })
  })
  return { entries, producers: producerTotals(told) }
}

/** Forgets what producers have counted that have not been heard of for an hour. */
export async function forgetProducers(redis: RedisLike, { keys }: Shard): Promise<void> {
  const beforeMs = (await redisNowMs(redis)) - TOLD_FOR_MS
  const old = Object.entries(await redis.hgetall(keys.told)).filter(([, told]) => toldAtMs(told) < beforeMs)
  if (old.length > 0) await redis.hdel(keys.told, ...old.map(([producer]) => producer))
}
