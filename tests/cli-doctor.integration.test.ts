import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ExecutionTracer } from '@stepwell/client'
import { addMonths, encodeTold, monthOf, partitionName } from '@stepwell/protocol'
import { MONTHS_AHEAD } from '@stepwell/storage'
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

/** The checks by area and name, of a doctor that ends with this code. What is not well says what to do. */
async function checks(code: number, env: Record<string, string> = {}): Promise<Record<string, Document>> {
  const end = await bench.stepwell(['doctor', '--json'], { env })
  expect({ code: end.code, stderr: end.stderr }, end.stdout).toEqual({ code, stderr: '' })
  const { ok, checks } = JSON.parse(end.stdout)
  expect(ok).toBe(code === 0)
  for (const check of checks)
    expect({ check, isAdvised: typeof check.advice === 'string' && check.advice !== '' }).toEqual({
      check,
      isAdvised: check.status !== 'ok',
    })
  return Object.fromEntries(checks.map((check: Document) => [`${check.area} ${check.name}`, check]))
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
  await waitFor(async () => (await bench.json('traces', '--limit', '1000')).traces.length === 200, {
    what: 'the runs',
  })
  await waitFor(
    async () => ((await redis.xpending('stepwell:{0}:events', 'stepwell')) as [number])[0] === 0,
    { what: 'all is acked' },
  )
  const found = await checks(0)
  expect(found['workers equation']).toMatchObject({
    status: 'ok',
    found: expect.stringMatching(/^\d+ came = \d+ stored \+ 1 dead \+ 0 in work \+ 0 unread$/),
  })
  expect(found['workers running']).toMatchObject({ status: 'ok', found: '1 worker' })
  expect(found['postgres migrations']).toMatchObject({ status: 'ok', found: 'up to date' })
  for (const name of ['postgres partitions', 'postgres clock', 'postgres clock of Redis', 'redis writable'])
    expect(found[name]?.status, name).toBe('ok')
  expect(found['postgres dead letters']).toMatchObject({ status: 'warn', found: '1' })
  const { stdout } = await bench.stepwell(['doctor'])
  expect(stdout).toMatch(
    /^Redis\n {2}✓ version[\s\S]*Workers\n[\s\S]*Postgres\n[\s\S]*! dead letters +1\n +→ stepwell dead list says why/,
  )
  // Somebody else takes an entry out of the group's hands.
  await redis.hincrby('stepwell:{0}:counts', 'stored', 1)
  expect((await checks(1))['workers equation']).toMatchObject({
    status: 'fail',
    advice: expect.stringMatching(/somebody else/),
  })
  await redis.hincrby('stepwell:{0}:counts', 'stored', -1)
  redis.disconnect()
})

test('a Redis that evicts, is nearly full, cannot save and is only a replica, without workers; tables that are not there', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stepwell-doctor-'))
  const redis = await startRedis({ appendonly: false, dir })
  const empty = await createDatabase({ empty: true })
  const client = new Redis(redis.url)
  const env = { REDIS_URL: redis.url, DATABASE_URL: empty.url }
  const unsaved = await checks(1, env)
  expect(unsaved['redis persistence']).toMatchObject({ status: 'warn', found: 'no append-only file' })
  expect(unsaved['redis eviction']?.status).toBe('ok')
  expect(unsaved['workers group']).toMatchObject({
    status: 'fail',
    advice: expect.stringMatching(/stepwell-worker/),
  })
  expect(unsaved['postgres migrations']).toMatchObject({
    status: 'fail',
    found: expect.stringMatching(/^missing: 0001_execution_traces, 0002_dead_letters_not_kept, /),
    advice: 'run stepwell migrate',
  })

  // Full, it takes no transaction either: what there is to tell is told all the same.
  await client.xgroup('CREATE', 'stepwell:{0}:events', 'stepwell', '0', 'MKSTREAM')
  await client.config('SET', 'maxmemory', '1')
  const full = await checks(1, env)
  expect(full['redis memory']?.status).toBe('fail')
  expect(full['workers equation']).toMatchObject({ status: 'ok', found: expect.stringMatching(/^0 came/) })
  await client.config('SET', 'maxmemory', '0')

  rmSync(dir, { recursive: true })
  await client.bgsave()
  const info = (section: string, pattern: RegExp) => async (): Promise<boolean> =>
    pattern.test(await client.info(section))
  await waitFor(info('persistence', /rdb_last_bgsave_status:err/), { what: 'the snapshot has failed' })
  // It would refuse all writes from now on if snapshots were scheduled (MISCONF).
  // One after the other: buffers of commands count too, for a moment.
  for (let i = 0; i < 40; i++) await client.set(`large:${i}`, 'x'.repeat(512 << 10))
  const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1])
  await client.config('SET', 'maxmemory', String(Math.ceil(1.15 * used)))
  await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await client.replicaof('127.0.0.1', '1')
  const bad = await checks(1, env)
  expect(bad['redis eviction']).toMatchObject({
    status: 'fail',
    found: 'allkeys-lru',
    advice: expect.stringMatching(/noeviction/),
  })
  expect(bad['redis persistence']).toMatchObject({ status: 'fail', found: 'the last snapshot has failed' })
  expect(bad['redis memory']).toMatchObject({
    status: 'warn',
    found: expect.stringMatching(/^\d.* MiB of \d.* MiB used$/),
  })
  expect(bad['redis writable']).toMatchObject({ status: 'fail', found: 'no, its role is slave' })
  client.disconnect()
  await redis.stop()
  await empty.drop()
  // Gone altogether: that is told of each.
  const gone = await checks(1, env)
  expect(gone['redis reachable']).toMatchObject({
    status: 'fail',
    advice: expect.stringMatching(/REDIS_URL/),
  })
  expect(gone['postgres reachable']).toMatchObject({
    status: 'fail',
    advice: expect.stringMatching(/DATABASE_URL/),
  })
})

test('a newer schema, a partition that is missing, and a machine whose clock is wrong', async () => {
  const pool = new pg.Pool({ connectionString: bench.database.url, max: 1 })
  pool.on('error', () => {})
  await pool.query("insert into stepwell_migrations (name, timestamp) values ('9999_later', 'x')")
  expect((await checks(1))['postgres migrations']).toMatchObject({
    status: 'fail',
    found: 'unknown: 9999_later',
  })
  await pool.query("delete from stepwell_migrations where name = '9999_later'")
  const month = partitionName(addMonths(monthOf(Date.now()), MONTHS_AHEAD))
  await pool.query(`drop table ${month}`)
  const found = await checks(0, {
    // A process that reads its clock five seconds late.
    NODE_OPTIONS: `--import=data:text/javascript,const%20now=Date.now;Date.now=()=>now()-5000`,
  })
  expect(found['postgres partitions']).toMatchObject({ status: 'warn', found: `missing: ${month}` })
  expect(found['postgres clock']).toMatchObject({
    status: 'warn',
    found: expect.stringMatching(/^[45]\.\d+ s from this machine$/),
  })
  expect(found['postgres clock of Redis']?.status).toBe('ok')
  // What it says to do is right.
  expect(await bench.stepwell(['migrate'])).toMatchObject({ stdout: expect.stringContaining(month) })
  await pool.end()
})

test('a backlog that nobody works off: old, or large, without a worker; producers that gave up events', async () => {
  const redis = new Redis(bench.redisUrl)
  const send = async (stream: string, count: number, id: (i: number) => string): Promise<void> => {
    await redis.xgroup('CREATE', stream, 'stepwell', '0', 'MKSTREAM')
    const pipeline = redis.pipeline()
    for (let i = 0; i < count; i++) pipeline.xadd(stream, id(i), 'v', '1')
    await pipeline.exec()
  }
  await send('left:{0}:events', 3, (i) => `${1_000 + i}-0`)
  await redis.xreadgroup('GROUP', 'stepwell', 'dead', 'COUNT', 1, 'STREAMS', 'left:{0}:events', '>')
  await redis.hset(
    'left:{0}:told',
    'p1',
    encodeTold(Date.now(), { emitted: 9, acked: 4, dropped: { backlog: 2 } }),
  )
  const old = await checks(0, { STEPWELL_NAMESPACE: 'left' })
  expect(old['workers backlog']).toMatchObject({
    status: 'warn',
    found: expect.stringMatching(/^2 unread, 1 in work, oldest \d+d/),
  })
  expect(old['workers equation']).toMatchObject({
    status: 'ok',
    found: '3 came = 0 stored + 0 dead + 1 in work + 2 unread',
  })
  expect(old['workers producers']).toMatchObject({
    status: 'warn',
    found: '1 in the last hour: 9 events = 4 sent + 2 backlog given up + 3 in or behind their latest frames',
  })
  await send('large:{0}:events', 10_000, () => '*')
  const large = await checks(1, { STEPWELL_NAMESPACE: 'large' })
  expect(large['workers backlog']).toMatchObject({
    status: 'warn',
    found: '10,000 unread, 0 in work, oldest 0 ms',
  })
  expect(large['workers running']).toMatchObject({ status: 'fail', found: '0 workers' })
  redis.disconnect()
})
