import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import { expect, it } from 'vitest'

async function withClient<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url)
  redis.on('error', () => {})
  try {
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}

it('keeps what was written through a kill when it writes the append-only file', async () => {
  await using server = await startRedis({ appendonly: true, args: ['--appendfsync', 'always'] })
  await withClient(server.url, (redis) => redis.set('key', 'value'))
  await server.kill()
  await server.restart()
  expect(await withClient(server.url, (redis) => redis.get('key'))).toBe('value')
})

it('comes back empty without one', async () => {
  await using server = await startRedis()
  await withClient(server.url, (redis) => redis.set('key', 'value'))
  await server.kill()
  await server.restart()
  expect(await withClient(server.url, (redis) => redis.get('key'))).toBeNull()
})

it('writes a snapshot at an orderly restart when it may', async () => {
  await using server = await startRedis({ save: '3600 1' })
  await withClient(server.url, (redis) => redis.set('key', 'value'))
  await server.restart()
  expect(await withClient(server.url, (redis) => redis.get('key'))).toBe('value')
})

it('refuses writes over its memory and never evicts', async () => {
  await using server = await startRedis({ maxmemory: '1mb' })
  const writing = withClient(server.url, (redis) => redis.set('key', 'x'.repeat(2 * 1024 * 1024)))
  await expect(writing.then(() => withClient(server.url, (redis) => redis.set('more', 'x')))).rejects.toThrow(
    /OOM/,
  )
})

it('answers nothing while paused, and then everything', async () => {
  await using server = await startRedis()
  const redis = new Redis(server.url, { commandTimeout: 200, retryStrategy: () => null })
  try {
    await redis.ping()
    server.pause()
    await expect(redis.ping()).rejects.toThrow(/timed out/)
    server.resume()
    expect(await redis.ping()).toBe('PONG')
  } finally {
    redis.disconnect()
  }
})

it('leaves the data where it was told to', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'testkit-redis-data-'))
  try {
    const first = await startRedis({ dir, appendonly: true })
    await withClient(first.url, (redis) => redis.set('key', 'value'))
    await first.stop()
    await using second = await startRedis({ dir, appendonly: true })
    expect(await withClient(second.url, (redis) => redis.get('key'))).toBe('value')
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it('says why when it does not start', async () => {
  await expect(startRedis({ args: ['--no-such-setting', '1'] })).rejects.toThrow(/no-such-setting/)
})
