import { GROUP } from '@stepwell/protocol'
import { type BoundedConnection, REPLY_MAX_BYTES, ReplyTooLargeError } from './bounded-connection.ts'
import type { Collector } from './collector.ts'
import { type EntryBytes, entryOf } from './entry.ts'
import type { Intake } from './intake.ts'
import { type RedisLike, redisCode, Script } from './script.ts'
import type { Shard } from './shard.ts'

/** How often entries in hand are touched, and stale ones looked for. */
export const RECLAIM_INTERVAL_MS = 5_000
/** From this delivery on an entry is tried alone: it may be what ended the workers that had it. */
const ALONE_FROM_DELIVERY = 5
const RECLAIM_COUNT = 64
/** No entry of ours comes behind it. Not the very last id: Redis takes that for `>`, and delivers. */
const LAST_ID = '18446744073709551615-0'
const TOO_LARGE = `the entry is larger than ${REPLY_MAX_BYTES >> 20} MiB: it was not read. Send less in a frame`
/** Consumers without pending entries are forgotten after an hour. */
const FORGET_CONSUMER_MS = 3_600_000

// KEYS: stream. ARGV: group, consumer. Only with nothing pending: XGROUP DELCONSUMER drops pending entries with it.
const forgetScript = new Script(`
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])`)

/**
 * Keeps entries in hand ours, and takes over those of workers that are gone. Touching is XCLAIM JUSTID: it leaves the
 * delivery count alone, so an outage of Postgres, while which many entries wait long in hand, condemns nothing.
 */
export class Reclaimer {
  readonly #redis: RedisLike
  readonly #connection: BoundedConnection
  readonly #consumer: string
  readonly #intake: Intake
  readonly #collector: Collector
  readonly #staleMs: number
  readonly #onReclaimed: (entries: number) => void

  constructor(options: {
    redis: RedisLike
    /** Of its own, to read entries through. */
    connection: BoundedConnection
    consumer: string
    intake: Intake
    collector: Collector
    /** An entry that nobody has touched for this long belongs to a worker that is gone. */
    staleMs: number
    onReclaimed: (entries: number) => void
  }) {
    this.#redis = options.redis
    this.#connection = options.connection
    this.#consumer = options.consumer
    this.#intake = options.intake
    this.#collector = options.collector
    this.#staleMs = options.staleMs
    this.#onReclaimed = options.onReclaimed
  }

  /** Tells Redis that we are there, and that the entries in hand are being worked on. */
  async refresh({ keys, inHand }: Shard): Promise<void> {
    // Before Redis 7.2 a consumer that waits for entries grows idle, and one that never had any is not there. What is pending behind
    // this id is nothing, and is answered at once.
    await this.#redis.xreadgroup('GROUP', GROUP, this.#consumer, 'COUNT', 1, 'STREAMS', keys.events, LAST_ID)
    const ids = [...inHand.keys()]
    for (let i = 0; i < ids.length; i += 1000) {
      await this.#redis.call(
        'XCLAIM',
        keys.events,
        GROUP,
        this.#consumer,
        0,
        ...ids.slice(i, i + 1000),
        'JUSTID',
      )
    }
  }

  /** Takes over stale entries, ours too: those whose taking failed. */
  async reclaim(shard: Shard, stop: AbortSignal): Promise<void> {
    const stream = shard.keys.events
    for (let after = '-'; !stop.aborted; ) {
      const stale = (await this.#redis.xpending(
        stream,
        GROUP,
        'IDLE',
        this.#staleMs,
        after,
        '+',
        RECLAIM_COUNT,
      )) as [id: string, consumer: string, idleMs: number, deliveries: number][]
      const last = stale.at(-1)
      if (last === undefined) return
      after = `(${last[0]}`
      const suspects = stale.filter(
        ([id, , , deliveries]) => deliveries >= ALONE_FROM_DELIVERY && !shard.inHand.has(id),
      )
      const others = stale.filter(
        ([id, , , deliveries]) => deliveries < ALONE_FROM_DELIVERY && !shard.inHand.has(id),
      )
      await this.#takeOver(
        shard,
        others.map(([id]) => id),
      )
      for (const [id] of suspects) {
        await this.#collector.flush()
        await this.#takeOver(shard, [id])
        await this.#collector.flush()
      }
    }
  }

  async #takeOver(shard: Shard, ids: string[], idleMs = this.#staleMs): Promise<void> {
    if (ids.length === 0) return
    await this.#collector.room()
    const stream = shard.keys.events
    let entries: (EntryBytes | null)[]
    try {
      entries = await this.#connection.read(
        (redis) =>
          redis.callBuffer('XCLAIM', stream, GROUP, this.#consumer, idleMs, ...ids) as Promise<
            (EntryBytes | null)[]
          >,
      )
    } catch (error) {
      if (!(error instanceof ReplyTooLargeError)) throw error
      await this.#takeApart(shard, ids)
      return
    }
    const found = entries.filter((entry) => entry !== null).map(entryOf)
    // Before Redis 7 an entry that was deleted from the stream comes as null, without its id.
    if (found.length < entries.length) {
      const known = new Set(found.map(([id]) => id))
      for (const id of ids) {
        if (!known.has(id) && (await this.#redis.xrange(stream, id, id)).length === 0) found.push([id, null])
      }
    }
    this.#onReclaimed(found.length)
    if (found.length > 0) await this.#intake.take(shard, found, true)
  }

  /** Takes entries alone that were too large together. They are ours already, but for those that another worker was faster to take. */
  async #takeApart(shard: Shard, ids: string[]): Promise<void> {
    for (const id of ids) {
      const pending = await this.#redis.xpending(shard.keys.events, GROUP, id, id, 1)
      const [[, owner] = []] = pending as [id: string, consumer: string][]
      if (owner !== this.#consumer) continue
      if (ids.length > 1) await this.#takeOver(shard, [id], 0)
      else this.#intake.refuse(shard, id, TOO_LARGE)
    }
  }

  /** Removes this consumer's name, and those of workers long gone; never one with entries pending. */
  async forgetConsumers({ keys }: Shard, includingOurs: boolean): Promise<void> {
    let consumers: unknown[]
    try {
      consumers = (await this.#redis.xinfo('CONSUMERS', keys.events, GROUP)) as unknown[]
    } catch (error) {
      if (redisCode(error) === 'ERR' || redisCode(error) === 'NOGROUP') return
      throw error
    }
    for (const consumer of consumers) {
      const fields = Array.isArray(consumer) ? fromPairs(consumer) : (consumer as Record<string, unknown>)
      const name = String(fields.name)
      const isOurs = name === this.#consumer
      if (isOurs ? includingOurs : Number(fields.pending) === 0 && Number(fields.idle) > FORGET_CONSUMER_MS) {
        await forgetScript.run(this.#redis, [keys.events], [GROUP, name])
      }
    }
  }
}

function fromPairs(flat: unknown[]): Record<string, unknown> {
  const object: Record<string, unknown> = {}
  for (let i = 0; i + 1 < flat.length; i += 2) object[String(flat[i])] = flat[i + 1]
  return object
}
