import type { CommandContext } from './command.ts'
import type { RedisLike } from './connections.ts'
import { explainError, Failure } from './errors.ts'

/** A Redis that has not answered for this long is away. */
const ANSWER_MS = 10_000

/** What Redis said; `away` where it could not be asked: a sentence that says why. Both undefined where REDIS_URL is not set. */
export interface RedisAnswer<T> {
  answer?: T
  away?: string
}

/**
 * Asks Redis for what Postgres does not know yet. In the middle of an outage who asks is better served by what Postgres knows: so this
 * does not reject, unless REDIS_URL cannot be used at all. `ask` must ask nobody but Redis.
 */
export async function askRedis<T>(
  { connections }: CommandContext,
  ask: (redis: RedisLike) => Promise<T>,
): Promise<RedisAnswer<T>> {
  let timer: NodeJS.Timeout | undefined
  try {
    const redis = await connections.redisIfSet()
    if (redis === undefined) return {}
    const late = new Promise<never>((_, reject) => {
      const say = (): void => reject(new Failure(`Redis has not answered for ${ANSWER_MS / 1_000} s`))
      timer = setTimeout(say, ANSWER_MS)
    })
    return { answer: await Promise.race([ask(redis), late]) }
  } catch (error) {
    return { away: explainError(error).message }
  } finally {
    clearTimeout(timer)
  }
}
