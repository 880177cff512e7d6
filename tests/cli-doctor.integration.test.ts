import { ExecutionTracer } from '@stepwell/client'
import { newTraceId } from '@stepwell/protocol'
import { startRedis, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CliBench, type Document, makeCliBench } from './cli-bench.ts'

let bench: CliBench

beforeAll(async () => {
  bench = await makeCliBench()
})
afterAll(() => bench[Symbol.asyncDispose]())

/** The checks by name, of a doctor that ends with this code. */
async function checks(code: number, env: Record<string, string> = {}): Promise<Record<string, Document>> {
  const end = await bench.stepwell(['doctor', '--json'], { env })
  expect({ code: end.code, stderr: end.stderr }).toEqual({ code, stderr: '' })
  const { ok, checks } = JSON.parse(end.stdout)
  expect(ok).toBe(code === 0)
  return Object.fromEntries(checks.map((check: Document) => [check.name, check]))
}

test('where all is well it says so; entries that came are accounted for', async () => {
  await using tracer = new ExecutionTracer({ redis: bench.redisUrl })
  for (let i = 0; i < 200; i++) tracer.trace('build', (t) => t.step('work', () => {}))
  await tracer.flush()
  const redis = new Redis(bench.redisUrl)
  await redis.xadd('stepwell:{0}:events', '*', 'v', '1', 'p', 'x', 'n', 'nonsense')
  await waitFor(async () => (await bench.json('dead', 'list')).dead_letters.length === 1, {
    what: 'the letter',
  })
  const found = await checks(0)
  expect(found.equation).toMatchObject({
    status: 'ok',
    found: expect.stringMatching(/^\d+ came = \d+ stored \+ 1 dead \+ 0 in work \+ 0 unread$/),
  })
  expect(found.running).toMatchObject({ area: 'workers', status: 'ok', found: '1 worker' })
  expect(found.migrations).toMatchObject({ status: 'ok', found: 'up to date' })
  expect(found.partitions?.status).toBe('ok')
  expect(found['dead letters']).toMatchObject({ status: 'warn', found: '1' })
  const { stdout } = await bench.stepwell(['doctor'])
  expect(stdout).toMatch(
    /^Redis\n {2}✓ version[\s\S]*Workers\n[\s\S]*Postgres\n[\s\S]*! dead letters +1\n +→ stepwell dead list says why/,
  )
  // Somebody else takes an entry out of the group's hands.
  await redis.hincrby('stepwell:{0}:counts', 'stored', 1)
  expect((await checks(1)).equation).toMatchObject({
    status: 'fail',
    advice: expect.stringMatching(/somebody else/),
  })
  redis.disconnect()
})

test('an evicting Redis without a file and without workers, and tables that are not there', async () => {
  const redis = await startRedis({ appendonly: false })
  const empty = await createDatabase({ empty: true })
  const client = new Redis(redis.url)
  await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await client.config('SET', 'maxmemory', '4mb')
  const env = { REDIS_URL: redis.url, DATABASE_URL: empty.url }
  const found = await checks(1, env)
  expect(found.eviction).toMatchObject({
    status: 'fail',
    found: 'allkeys-lru',
    advice: expect.stringMatching(/noeviction/),
  })
  expect(found.persistence?.status).toBe('warn')
  expect(found.group).toMatchObject({ status: 'fail', advice: expect.stringMatching(/stepwell-worker/) })
  expect(found.migrations).toMatchObject({
    status: 'fail',
    found: 'missing: 0001_execution_traces, 0002_dead_letters_not_kept',
  })
  client.disconnect()
  await redis.stop()
  // Gone altogether: that is told, and the other one is looked at all the same.
  expect((await checks(1, env)).reachable).toMatchObject({ area: 'redis', status: 'fail' })
  await empty.drop()
})

test('an older program, a missing partition, a backlog that nobody works off', async () => {
  const pool = new pg.Pool({ connectionString: bench.database.url, max: 1 })
  await pool.query("insert into stepwell_migrations (name, timestamp) values ('9999_later', 'x')")
  expect((await checks(1)).migrations).toMatchObject({ status: 'fail', found: 'unknown: 9999_later' })
  await pool.query("delete from stepwell_migrations where name = '9999_later'")
  await pool.end()
  const redis = new Redis(bench.redisUrl)
  await redis.xgroup('CREATE', 'left:{0}:events', 'stepwell', '0', 'MKSTREAM')
  const delta = JSON.stringify([{ t: newTraceId(Date.now()), b: 1, k: 'x', n: [0, 0] }])
  for (let i = 0; i < 3; i++)
    await redis.xadd(
      'left:{0}:events',
      `${1_000 + i}-0`,
      'v',
      '1',
      'p',
      'x',
      'n',
      String(i),
      'c',
      '1',
      'd',
      delta,
    )
  await redis.xreadgroup('GROUP', 'stepwell', 'dead', 'COUNT', 1, 'STREAMS', 'left:{0}:events', '>')
  const found = await checks(0, { STEPWELL_NAMESPACE: 'left' })
  expect(found.backlog).toMatchObject({
    status: 'warn',
    found: expect.stringMatching(/^2 unread, 1 in work, oldest \d+d/),
  })
  expect(found.equation).toMatchObject({
    status: 'ok',
    found: '3 came = 0 stored + 0 dead + 1 in work + 2 unread',
  })
  redis.disconnect()
})
