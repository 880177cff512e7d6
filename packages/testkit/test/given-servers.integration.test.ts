import { freePort, startRedis, startServices } from '@stepwell/testkit'
import { services } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterEach, expect, it, vi } from 'vitest'

afterEach(() => {
  vi.unstubAllEnvs()
})

it('uses the servers that are given and does not stop them', async () => {
  await using server = await startRedis()
  vi.stubEnv('STEPWELL_SERVICES', '')
  vi.stubEnv('REDIS_URL', server.url)
  vi.stubEnv('DATABASE_URL', services().postgresUrl)
  const given = await startServices()
  expect(given.redis).toMatchObject({ url: server.url, from: 'REDIS_URL' })
  expect(given.postgres).toMatchObject({ url: services().postgresUrl, from: 'DATABASE_URL' })
  await given.stop()
  const redis = new Redis(server.url)
  expect(await redis.ping()).toBe('PONG')
  redis.disconnect()
})

it('says which given server does not answer, and does not look for another', async () => {
  vi.stubEnv('STEPWELL_SERVICES', '')
  vi.stubEnv('REDIS_URL', `redis://127.0.0.1:${await freePort()}`)
  vi.stubEnv('DATABASE_URL', services().postgresUrl)
  await expect(startServices()).rejects.toThrow(
    /^REDIS_URL is set, but nothing usable answers there: .*ECONNREFUSED/,
  )
})

it('refuses a wish that it does not know', async () => {
  vi.stubEnv('STEPWELL_SERVICES', 'podman')
  await expect(startServices()).rejects.toThrow("STEPWELL_SERVICES is 'podman'; it can only be 'docker'")
})
