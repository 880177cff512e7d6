import { GROUP } from '@stepwell/protocol'
import { backoffMs, delay } from './outage.ts'
import { type RedisLike, Script } from './script.ts'
import type { Ticket } from './shard.ts'

// KEYS: stream, counters. ARGV: group, number of ids acked as stored, those ids, then the ids acked as dead.
// Counted by what XACK itself removed: an entry acked twice counts once. Counting must not fail what is done: pcall.
// XACK comes first: a full Redis refuses a script that begins with HINCRBY, and nothing to one that has written already.
const ackScript = new Script(`
local stored, dead = 0, 0
local last = 2 + ARGV[2]
for i = 3, last, 1000 do stored = stored + redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, i, math.min(i + 999, last))) end
for i = last + 1, #ARGV, 1000 do dead = dead + redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, i, math.min(i + 999, #ARGV))) end
if stored > 0 then redis.pcall('HINCRBY', KEYS[2], 'stored', stored) end
if dead > 0 then redis.pcall('HINCRBY', KEYS[2], 'dead', dead) end
return {stored, dead}`)

/**
 * Acks entries whose parts are all durable. Done → (acked, or tried again until Redis answers). An entry leaves the hand
 * only when its ack is through; before that it is refreshed, so that no other worker takes it.
 */
export class Acker {
  readonly #redis: RedisLike
  readonly #stop: AbortSignal
  readonly #onAcked: (stored: number, dead: number) => void
  #ready: Ticket[] = []
  #running: Promise<void> | undefined

  constructor(redis: RedisLike, stop: AbortSignal, onAcked: (stored: number, dead: number) => void) {
    this.#redis = redis
    this.#stop = stop
    this.#onAcked = onAcked
  }

  /** One part of the entry is durable. With the last part the entry is acked. */
  partDone(ticket: Ticket, count = 1): void {
    ticket.open -= count
    if (ticket.open > 0) return
    this.#ready.push(ticket)
    this.#running ??= this.#run()
  }

  /** Resolves when nothing is waiting to be acked, or the worker gave up on Redis. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    // The parts that become durable with this commit come one after the other: take them together.
    await Promise.resolve()
    for (let attempt = 0; this.#ready.length > 0; ) {
      const batch = this.#ready
      this.#ready = []
      try {
        await this.#ack(batch)
        attempt = 0
      } catch {
        // Redis is away: the same again. What is acked already is acked at most once more, and not counted.
        this.#ready.unshift(...batch.filter((ticket) => ticket.shard.inHand.has(ticket.id)))
        if (this.#stop.aborted) break
        await delay(backoffMs(attempt++), this.#stop)
      }
    }
    this.#running = undefined
  }

  async #ack(batch: Ticket[]): Promise<void> {
    for (const [shard, tickets] of Map.groupBy(batch, (ticket) => ticket.shard)) {
      const stored = tickets.filter((ticket) => !ticket.dead).map((ticket) => ticket.id)
      const dead = tickets.filter((ticket) => ticket.dead).map((ticket) => ticket.id)
      const args = [GROUP, stored.length, ...stored, ...dead]
      const counts = (await ackScript.run(this.#redis, [shard.keys.events, shard.keys.counts], args)) as [
        number,
        number,
      ]
      for (const ticket of tickets) shard.inHand.delete(ticket.id)
      this.#onAcked(Number(counts[0]), Number(counts[1]))
    }
  }
}
