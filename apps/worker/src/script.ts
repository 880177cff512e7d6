import { createHash } from 'node:crypto'
import { type Cluster, Command, type Redis } from 'ioredis'

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

  run(
    redis: RedisLike,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    return this.#try(
      () => redis.evalsha(this.#sha, keys.length, ...keys, ...args),
      () => redis.eval(this.#source, keys.length, ...keys, ...args),
    )
  }

  /**
   * The same with keys and arguments, so many, that are written as they are sent (https://redis.io/docs/latest/develop/reference/protocol-spec/), each a bulk
   * string, behind the key prefix of the connection if it has one. They are copied at once.
   */
  runWritten(redis: Redis, keyCount: number, argCount: number, written: readonly Buffer[]): Promise<unknown> {
    const rest = Buffer.concat(written)
    const send = (name: string, script: string): Promise<unknown> =>
      redis.sendCommand(
        new WrittenCommand(name, [script, String(keyCount)], keyCount + argCount, rest),
      ) as Promise<unknown>
    return this.#try(
      () => send('evalsha', this.#sha),
      () => send('eval', this.#source),
    )
  }

  async #try(bySha: () => Promise<unknown>, whole: () => Promise<unknown>): Promise<unknown> {
    try {
      return await bySha()
    } catch (error) {
      if (redisCode(error) !== 'NOSCRIPT') throw error
      return whole()
    }
  }
}

/** A command that has so many more arguments than the library knows of, which are written already. */
class WrittenCommand extends Command {
  readonly #more: number
  readonly #written: Buffer

  constructor(name: string, args: string[], more: number, written: Buffer) {
    super(name, args)
    this.#more = more
    this.#written = written
  }

  /** For the library. Asked again, when the connection was lost, it is the same. */
  override toWritable(): Buffer {
    const args = [this.name, ...(this.args as string[])]
    const head = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`)
    return Buffer.concat([Buffer.from(`*${args.length + this.#more}\r\n${head.join('')}`), this.#written])
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
