import type { Redis } from 'ioredis'
import type { RedisLike } from './script.ts'

/** Most bytes of a reply with entries. Redis takes values of 512 MiB, and many of them in one entry. */
export const REPLY_MAX_BYTES = 32 << 20

/** A reply grew over REPLY_MAX_BYTES and was given up. What it would have brought is pending, and ours. */
export class ReplyTooLargeError extends Error {}

/**
 * A connection to read entries through, of a user who sends one command at a time. Nothing in Redis tells how large an entry is
 * before it comes, so the bytes of the reply are counted as they come: over the limit the connection is closed, and opened again.
 * Open → (reading →) open; or reading → given up → open.
 */
export class BoundedConnection {
  readonly redis: RedisLike
  #bytes = 0
  #isGivenUp = false

  constructor(redis: RedisLike) {
    this.redis = redis
    if ('nodes' in redis) redis.on('+node', (node: Redis) => this.#watch(node))
    else this.#watch(redis)
  }

  /** The reply of a command. Rejects with ReplyTooLargeError where it is too large. */
  async read<T>(command: (redis: RedisLike) => Promise<T>): Promise<T> {
    this.#bytes = 0
    try {
      return await command(this.redis)
    } catch (error) {
      if (!this.#isGivenUp) throw error
      this.#isGivenUp = false
      this.#bytes = 0
      // Where this fails it tries again by itself, and commands wait for it.
      this.redis.connect().catch(() => {})
      throw new ReplyTooLargeError(`a reply of more than ${REPLY_MAX_BYTES >> 20} MiB`)
    }
  }

  #watch(node: Redis): void {
    node.on('connect', () => {
      const { stream } = node
      stream.on('data', (chunk: Buffer) => {
        this.#bytes += chunk.length
        if (this.#bytes <= REPLY_MAX_BYTES || this.#isGivenUp) return
        this.#isGivenUp = true
        this.redis.disconnect()
        stream.destroy()
      })
    })
  }
}
