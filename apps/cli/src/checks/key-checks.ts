import { SHARD_KEY_TYPES, shardKeys } from '@stepwell/protocol'
import type { Environment } from '../config.ts'
import type { RedisLike } from '../connections.ts'
import { type Check, judged } from './check.ts'

/** Looks whether the keys of all shards hold what they should: else somebody else writes to them, and workers do without. */
export async function checkKeys(redis: RedisLike, env: Environment): Promise<Check> {
  const wrong: string[] = []
  for (let shard = 0; shard < env.STEPWELL_SHARDS; shard++) {
    const keys = shardKeys(env.STEPWELL_NAMESPACE, shard)
    for (const [name, wanted] of Object.entries(SHARD_KEY_TYPES)) {
      const key = keys[name as keyof typeof SHARD_KEY_TYPES]
      const type = await redis.type(key)
      if (type !== wanted && type !== 'none') wrong.push(`${key} is a ${type} and not a ${wanted}`)
    }
  }
  return judged(
    'redis',
    'keys',
    wrong.length === 0 ? 'as they should be' : wrong.join(', '),
    wrong.length === 0,
    'fail',
    'somebody else writes to these keys: move theirs away (RENAME), workers make their own anew',
  )
}
