import type { Redis } from 'ioredis'
import type { RedisLike } from './connections.ts'

/** Most bytes of a reply: Redis takes values of 512 MiB, and many of them in one entry. */
const REPLY_MAX_BYTES = 32 << 20
/** No entry is later: milliseconds since 1970. */
const LATEST_MS = 2 ** 48

/** An entry of a stream, its fields as they lie there: names and values in turn. */
export type Entry = [id: string, fields: string[]]

/** What comes next in a stream. */
export interface NextEntries {
  entries: Entry[]
  /** Where to go on from. */
  after: string
  /** An entry of this time, milliseconds since 1970, is too large to be read, and was passed over with all of its millisecond. */
  passedOverMs?: number
}

class ReplyTooLargeError extends Error {}

/**
 * Reads streams in bounded memory, for a user who sends one command at a time. Nothing in Redis tells how large an entry is before it comes,
 * nor its id: the bytes of a reply are counted as they come, and over 32 MiB the connection is closed and opened again. Then fewer
 * entries are asked for; what is too large alone is looked for by halving the time that it can lie in.
 */
export class BoundedEntries {
  readonly #redis: RedisLike
  #bytes = 0
  #isGivenUp = false

  /** `redis` is connected. */
  constructor(redis: RedisLike) {
    this.#redis = redis
    if ('nodes' in redis) {
      for (const node of redis.nodes('all')) this.#watch(node)
      redis.on('+node', (node: Redis) => this.#watch(node))
    } else this.#watch(redis)
  }

  /** At most `count` entries after an id; with `blockMs` it waits for the first that long. */
  async next(stream: string, after: string, count: number, blockMs?: number): Promise<NextEntries> {
    try {
      const entries = await this.#entries(stream, after, count, blockMs)
      return { entries, after: entries.at(-1)?.[0] ?? after }
    } catch (error) {
      if (!(error instanceof ReplyTooLargeError)) throw error
      return count > 1 ? this.next(stream, after, Math.max(1, count >> 3)) : this.#passOver(stream, after)
    }
  }

  /** The reply of a command that cannot be asked for less; undefined where it is too large. */
  async read<T>(command: (redis: RedisLike) => Promise<T>): Promise<T | undefined> {
    return this.#read(command).catch((error: unknown) => {
      if (error instanceof ReplyTooLargeError) return undefined
      throw error
    })
  }

  async #entries(stream: string, after: string, count: number, blockMs?: number): Promise<Entry[]> {
    if (blockMs === undefined)
      return this.#read((redis) => redis.xrange(stream, `(${after}`, '+', 'COUNT', count))
    const reply = await this.#read((redis) =>
      redis.xread('COUNT', count, 'BLOCK', blockMs, 'STREAMS', stream, after),
    )
    return (reply as [string, Entry[]][] | null)?.[0]?.[1] ?? []
  }

  async #passOver(stream: string, after: string): Promise<NextEntries> {
    const fromMs = Number(after.split('-')[0])
    const isUntil = async (ms: number): Promise<boolean> =>
      (await this.read((redis) => redis.xrange(stream, `(${after}`, `${ms}`, 'COUNT', 1)))?.length !== 0
    let emptyMs = fromMs - 1
    let foundMs = fromMs
    for (let step = 1; !(await isUntil(foundMs)); step *= 2) {
      // Trimmed away meanwhile.
      if (foundMs > LATEST_MS) return { entries: [], after }
      emptyMs = foundMs
      foundMs = fromMs + step
    }
    while (foundMs - emptyMs > 1) {
      const middle = Math.floor((emptyMs + foundMs) / 2)
      if (await isUntil(middle)) foundMs = middle
      else emptyMs = middle
    }
    return { entries: [], after: `${foundMs}-18446744073709551615`, passedOverMs: foundMs }
  }

  async #read<T>(command: (redis: RedisLike) => Promise<T>): Promise<T> {
    this.#bytes = 0
    try {
      return await command(this.#redis)
    } catch (error) {
      if (!this.#isGivenUp) throw error
      this.#isGivenUp = false
      // Where this fails it tries again by itself, and commands wait for it.
      this.#redis.connect().catch(() => {})
      throw new ReplyTooLargeError()
    }
  }

  #watch(node: Redis): void {
    const count = (): void => {
      const { stream } = node
      stream.on('data', (chunk: Buffer) => {
        this.#bytes += chunk.length
        if (this.#bytes <= REPLY_MAX_BYTES || this.#isGivenUp) return
        this.#isGivenUp = true
        this.#redis.disconnect()
        stream.destroy()
      })
    }
    if (node.status === 'ready' || node.status === 'connect') count()
    node.on('connect', count)
  }
}

/** What to say of an entry that was passed over. */
export const passedOverNote = (stream: string, ms: number): string =>
  `an entry of ${stream} from ${new Date(ms).toISOString()} is larger than ${REPLY_MAX_BYTES >> 20} MiB, and was passed over`
