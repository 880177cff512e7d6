import { monthBounds, monthOf, partitionName } from '@stepwell/protocol'
import type { Database } from './database.ts'
import { ensurePartitions } from './partitions.ts'
import { isTransient } from './transient-error.ts'

/** A month that could not be made for something that may pass is left alone for this long: an attempt waits for locks, and writes wait for it. */
const RETRY_MS = 1_000

/**
 * The months that a writer can write to: unknown → being made (once, whoever asks) → there, until `forget`; or lacking, with the
 * reason, for a second, then unknown again.
 */
export class MonthCover {
  readonly #database: Database
  readonly #there = new Set<string>()
  readonly #making = new Map<string, Promise<void>>()
  readonly #lacking = new Map<string, { reason: unknown; untilMs: number }>()
  /** The month of the latest answer: nearly all times lie in one. */
  #latest = { fromMs: 0, toMs: 0 }

  constructor(database: Database) {
    this.#database = database
  }

  /** Whether the month of this time is known to be there. */
  has(timeMs: number): boolean {
    if (timeMs >= this.#latest.fromMs && timeMs < this.#latest.toMs) return true
    const month = monthOf(timeMs)
    if (!this.#there.has(partitionName(month))) return false
    this.#latest = monthBounds(month)
    return true
  }

  /** Makes the month of this time if it is missing. Throws what `pg` throws. */
  async make(timeMs: number): Promise<void> {
    if (this.has(timeMs)) return
    const month = monthOf(timeMs)
    const name = partitionName(month)
    let making = this.#making.get(name)
    if (making === undefined) {
      making = ensurePartitions(this.#database, [month])
        .then(
          () => {
            this.#there.add(name)
            this.#lacking.delete(name)
          },
          (reason: unknown) => {
            if (isTransient(reason)) this.#lacking.set(name, { reason, untilMs: Date.now() + RETRY_MS })
            throw reason
          },
        )
        .finally(() => this.#making.delete(name))
      this.#making.set(name, making)
    }
    await making
  }

  /** Makes the month, unless that has just failed for something that may pass. Gives what is in the way; undefined if it is there. Does not reject. */
  async lack(timeMs: number): Promise<unknown> {
    if (this.has(timeMs)) return undefined
    const lacking = this.#lacking.get(partitionName(monthOf(timeMs)))
    if (lacking !== undefined && Date.now() < lacking.untilMs) return lacking.reason
    return this.make(timeMs).then(
      () => undefined,
      (reason: unknown) => reason,
    )
  }

  /** Somebody dropped a month that was there. */
  forget(): void {
    this.#there.clear()
    this.#latest = { fromMs: 0, toMs: 0 }
  }
}
