import { createHash } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'

/** What the worker talks to: one Redis or a cluster. */
export type RedisLike = Redis | Cluster

/**
 * A Lua script: sent whole once, then by its hash (https://redis.io/docs/latest/commands/evalsha/). `whenFull`: it runs in a full Redis
 * too, for it frees memory or needs hardly any; its first key never expires.
 */
export class Script {
  readonly #source: string
  readonly #sha: string

  constructor(source: string, options: { whenFull?: boolean } = {}) {
    // Full, Redis refuses a script's first write if that may need memory; after any other write all are let through
    // (https://github.com/redis/redis/issues/8478). PERSIST is one, and changes nothing. The flag `allow-oom` needs Redis 7.
    this.#source = options.whenFull ? `redis.call('PERSIST', KEYS[1])\n${source}` : source
    this.#sha = createHash('sha1').update(this.#source).digest('hex')
  }

  async run(
    redis: RedisLike,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    try {
      return await redis.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (redisCode(error) !== 'NOSCRIPT') throw error
      return redis.eval(this.#source, keys.length, ...keys, ...args)
    }
  }
}

// Before Redis 7 an error in a script comes wrapped into another one; one that a script returns comes with its place.
const IN_SCRIPT = /^(?:ERR Error running script .*?)?(?:@user_script: ?\d+: )+-?/s

/** The code of a Redis error reply: its first word, in capitals (https://redis.io/docs/latest/develop/reference/protocol-spec/). */
export function redisCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined
  return /^[A-Z]+/.exec(error.message.replace(IN_SCRIPT, ''))?.[0]
}

/** The trouble that a key of ours holds something of another type: the reply of Redis does not say which. */
export function wrongType(key: string): Error {
  return new Error(
    `WRONGTYPE: somebody else put something at ${key}, a key of Stepwell: move it away (RENAME)`,
  )
}
