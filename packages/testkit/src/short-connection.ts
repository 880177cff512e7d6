import { Redis } from 'ioredis'
import pg from 'pg'

const CONNECT_TIMEOUT_MS = 5000

/** Runs some commands on a connection of its own. Throws when the server does not answer. */
export async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  // The reason: connect() itself only says that the connection is closed.
  let reason: unknown
  redis.on('error', (error) => {
    reason = error
  })
  try {
    await redis.connect().catch((error: unknown) => {
      throw reason ?? error
    })
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}

/** Runs some queries on a connection of its own. Throws when the server does not answer. */
export async function withPostgres<T>(
  connectionString: string,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
  client.on('error', () => {})
  try {
    await client.connect()
    return await use(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Resolves if a Redis answers there. */
export async function probeRedis(url: string): Promise<void> {
  await withRedis(url, (redis) => redis.ping())
}

/** Resolves if a Postgres answers there. */
export async function probePostgres(url: string): Promise<void> {
  await withPostgres(url, (client) => client.query('select 1'))
}
