import { GROUP, replyFields, unreadEntries } from '@stepwell/protocol'
import type { RedisConnection } from './redis-connection.ts'

const LOOK_EVERY_MS = 1_000
/** Weight of the latest frame in the average size of a frame. */
const SMOOTHING = 1 / 16

/**
 * How far the workers are behind: entries that nobody has read and entries in work (never the length of the stream, which
 * holds what was dealt with too), times the size of our own frames. Low → high (over the limit) → low. It is looked at once
 * a second while we send, and while it is high. Where Redis does not tell, it counts as low.
 */
export class Backlog {
  readonly #connection: RedisConnection
  readonly #streams: readonly string[]
  readonly #maxBytes: number
  readonly #timer: NodeJS.Timeout
  #frameBytes = 0
  #hasSent = false
  #isLooking = false
  #isHigh = false
  /** Called when it is low again. */
  onLow: (() => void) | undefined

  constructor(connection: RedisConnection, streams: readonly string[], maxBytes: number) {
    this.#connection = connection
    this.#streams = streams
    this.#maxBytes = maxBytes
    this.#timer = setInterval(() => {
      if ((this.#hasSent || this.#isHigh) && !this.#isLooking && connection.isReady()) void this.#look()
    }, LOOK_EVERY_MS).unref()
  }

  get isHigh(): boolean {
    return this.#isHigh
  }

  /** A frame of this size was sent. */
  noteSent(bytes: number): void {
    this.#hasSent = true
    this.#frameBytes += (bytes - this.#frameBytes) * (this.#frameBytes === 0 ? 1 : SMOOTHING)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    this.#hasSent = false
    let entries = 0
    try {
      for (const each of await Promise.all(this.#streams.map((stream) => this.#entriesOf(stream))))
        entries += each
    } catch {
      // No right to ask, or Redis went away: then sending says so.
      entries = 0
    }
    this.#isLooking = false
    const wasHigh = this.#isHigh
    this.#isHigh = entries * this.#frameBytes > this.#maxBytes
    if (wasHigh && !this.#isHigh) this.onLow?.()
  }

  async #entriesOf(stream: string): Promise<number> {
    const { redis, answered } = this.#connection
    let groups: unknown[]
    try {
      groups = (await answered(redis.xinfo('GROUPS', stream))) as unknown[]
    } catch (error) {
      // Nothing has been sent to this one yet.
      if (/^ERR no such key/.test((error as Error).message)) return 0
      throw error
    }
    const group = groups.map(replyFields).find((one) => one.get('name') === GROUP)
    // No worker has ever been here: nothing of the stream is dealt with.
    if (group === undefined) return answered(redis.xlen(stream))
    const lag = group.get('lag')
    const unread =
      typeof lag === 'number'
        ? lag
        : unreadEntries(group, replyFields(await answered(redis.xinfo('STREAM', stream))))
    return unread + Number(group.get('pending'))
  }
}
