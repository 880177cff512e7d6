import type { Redis } from 'ioredis'
import { withRedis } from './short-connection.ts'

// Both lie in database 0, which is never leased.
const COUNTER = 'stepwell:testkit:leases'
const LEASED = 'stepwell:testkit:leased'
const FEWEST_DATABASES = 2

/**
 * Gives the URL of a logical database (SELECT n) that is empty now and that no other test file is given until all others
 * had their turn. Our keys have a namespace, but the specification's `trace_context:*` have none: only a database of
 * its own keeps test files apart. On a Redis that was lent, a database that holds something it was not leased for is passed
 * over, never flushed.
 */
export function leaseRedisDatabase(server: string): Promise<string> {
  return withRedis(urlOf(server, 0), async (redis) => {
    const databases = await countRedisDatabases(redis)
    if (databases < FEWEST_DATABASES) {
      throw new Error(
        'Tests need a Redis with logical databases (databases 16 in redis.conf); a Cluster has none',
      )
    }
    const turns = databases - 1
    for (let turn = 0; turn < turns; turn++) {
      const number = 1 + ((await redis.incr(COUNTER)) % turns)
      if (await emptied(redis, number)) return urlOf(server, number)
    }
    throw new Error(`All ${turns} databases of the given Redis hold data that is not ours`)
  })
}

/** How many logical databases the server has. One that will not tell (managed ones forbid CONFIG) has Redis's default, 16. */
export async function countRedisDatabases(redis: Redis): Promise<number> {
  const answer = await redis.config('GET', 'databases').catch(() => [])
  const flat = (answer as unknown[]).flat()
  return Number(flat[flat.indexOf('databases') + 1] ?? 16)
}

async function emptied(redis: Redis, number: number): Promise<boolean> {
  const ours = await redis.hexists(LEASED, String(number))
  await redis.select(number)
  try {
    if (!ours && (await redis.dbsize()) > 0) return false
    await redis.flushdb()
  } finally {
    await redis.select(0)
  }
  await redis.hset(LEASED, String(number), new Date().toISOString())
  return true
}

function urlOf(server: string, number: number): string {
  const url = new URL(server)
  url.pathname = `/${number}`
  return url.href
}
