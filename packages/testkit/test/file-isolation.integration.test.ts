import { leaseRedisDatabase, startRedis } from '@stepwell/testkit'
import { createDatabase, redisForFile, services } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, it } from 'vitest'

async function query(connectionString: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

it('gives each file a migrated database', async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase()])
  expect(await query(one.url, "select to_regclass('execution_traces') is not null as there")).toEqual([
    { there: true },
  ])
  await query(one.url, 'create table mine ()')
  expect(await query(other.url, "select to_regclass('mine') as mine")).toEqual([{ mine: null }])
  await Promise.all([one.drop(), other.drop()])
})

it('drops a database that is in use, and twice', async () => {
  const database = await createDatabase()
  const client = new pg.Client({ connectionString: database.url })
  const lost = new Promise((resolve) => client.on('error', resolve))
  await client.connect()
  await database.drop()
  await lost
  await database.drop()
})

it('gives an empty database when asked', async () => {
  const database = await createDatabase({ empty: true })
  expect(
    await query(database.url, "select count(*)::int as tables from pg_tables where schemaname = 'public'"),
  ).toEqual([{ tables: 0 }])
  await database.drop()
})

it('gives each file a Redis database', async () => {
  const [one, other] = await Promise.all([redisForFile(), redisForFile()])
  expect(one).not.toBe(other)
  expect(new URL(one).host).toBe(new URL(services().redisUrl).host)
})

it('flushes a Redis database of its own when its turn comes again, and no other', async () => {
  await using server = await startRedis({ args: ['--databases', '4'] })
  const redis = new Redis(server.url)
  try {
    await redis.select(2)
    await redis.set('precious', 'yes')
    const lease = async () => new URL(await leaseRedisDatabase(server.url)).pathname
    expect(await lease()).toBe('/3')
    await redis.select(3)
    await redis.set('ours', 'left over')
    expect([await lease(), await lease()]).toEqual(['/1', '/3'])
    expect(await redis.get('ours')).toBeNull()
    await redis.select(2)
    expect(await redis.keys('*')).toEqual(['precious'])
  } finally {
    redis.disconnect()
  }
})
