import type { Redis } from 'ioredis'
import { type RedisLike, redisCode } from './script.ts'

/**
 * With less than this free a Redis is full to some: what waits in its buffers to be read counts as used, so that it takes small
 * commands when it refuses frames.
 */
const SPARE_BYTES = 1 << 20
/** The same as a share of `maxmemory`. */
const SPARE_SHARE = 1 / 32

/** Whether Redis, of a cluster one of its masters, is at its `maxmemory` or near it. Where it may not be asked: false. */
export async function isShortOfMemory(redis: RedisLike): Promise<boolean> {
  const servers: Redis[] = 'nodes' in redis ? redis.nodes('master') : [redis]
  const infos = servers.map((server) =>
    server.info('memory').catch((error: unknown) => {
      if (redisCode(error) === 'NOPERM') return ''
      throw error
    }),
  )
  return (await Promise.all(infos)).some(isShort)
}

/** By what INFO says; `mem_not_counted_for_evict` are the buffers of replicas and of the append-only file. */
function isShort(info: string): boolean {
  const value = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  const most = value('maxmemory')
  const free = most - (value('used_memory') - value('mem_not_counted_for_evict'))
  return most > 0 && free < Math.max(SPARE_BYTES, most * SPARE_SHARE)
}
