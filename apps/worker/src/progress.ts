import { type GroupProgress, readProgress, takesWrites } from './group.ts'
import type { Metrics } from './metrics.ts'
import type { RedisLike } from './script.ts'
import { isFull, noteAway, noteFull, noteWritable, type Shard } from './shard.ts'

/** A worker that has had work for this long and finished none of it is not alive, whatever its process says. */
export const STUCK_AFTER_MS = 30_000

/** While a server is away commands wait for it; who asks here does not. */
const ANSWER_MS = 2_000

/**
 * Whether the worker gets on. Progress is an ack, or having nothing to do, be it that Redis is away; a ping would also succeed in
 * a worker whose reading has silently stopped. Idle (nothing to read or in hand) → working → stuck (no ack for STUCK_AFTER_MS).
 * It also sees whether Redis takes writes.
 */
export class Progress {
  readonly #redis: RedisLike
  readonly #shards: readonly Shard[]
  readonly #metrics: Metrics
  #lastProgressMs: number
  #redisError: string | undefined

  constructor(redis: RedisLike, shards: readonly Shard[], metrics: Metrics, nowMs: number) {
    this.#redis = redis
    this.#shards = shards
    this.#metrics = metrics
    this.#lastProgressMs = nowMs
  }

  /** Entries were acked. */
  made(nowMs: number): void {
    this.#lastProgressMs = nowMs
  }

  /** Looks at the streams; called every second or so. Does not reject. */
  async look(nowMs: number): Promise<void> {
    let work = 0
    try {
      const looks = this.#shards.map((shard) =>
        Promise.all([readProgress(this.#redis, shard), takesWrites(this.#redis, shard)]),
      )
      const all = await soon(Promise.all(looks))
      for (const [i, shard] of this.#shards.entries()) {
        const [progress, isWritable] = all[i] as [GroupProgress | undefined, boolean]
        if (isWritable) noteWritable(shard, nowMs)
        else noteFull(shard, nowMs)
        this.#metrics.redisFull.set({ shard: shard.index }, Number(isFull(shard, nowMs)))
        const lag = progress?.lag ?? 0
        this.#metrics.lag.set({ shard: shard.index }, lag)
        this.#metrics.pending.set({ shard: shard.index }, progress?.pending ?? 0)
        this.#metrics.inHand.set({ shard: shard.index }, shard.inHand.size)
        // What other workers have pending is theirs; what nobody has read, or we hold, is ours to get on with.
        work += lag + shard.inHand.size
      }
      this.#redisError = undefined
    } catch (error) {
      // Without Redis there is nothing to get on with, and nothing that a restart would help.
      this.#redisError = (error as Error).message
      for (const shard of this.#shards) noteAway(shard)
      work = 0
    }
    if (work === 0) this.#lastProgressMs = nowMs
  }

  /** Milliseconds since the last progress. */
  stalledMs(nowMs: number): number {
    return nowMs - this.#lastProgressMs
  }

  get redisError(): string | undefined {
    return this.#redisError
  }
}

/** What the promise gives; rejects if that takes longer than anybody should wait. */
export function soon<T>(answer: Promise<T>, whose = 'Redis'): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`${whose} has not answered for ${ANSWER_MS} ms`)), ANSWER_MS).unref()
  })
  return Promise.race([answer, late])
}
