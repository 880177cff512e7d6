import { newTraceId } from '@stepwell/protocol'
import { startRedis, waitFor } from '@stepwell/testkit'
import { createWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

const log = pino({ level: 'silent' })
const opened: Bench[] = []
afterAll(async () => {
  for (const bench of opened) await bench[Symbol.asyncDispose]()
})

async function open(): Promise<Bench> {
  const bench = await makeBench()
  opened.push(bench)
  return bench
}

test('everything-refused: where no row at all goes in, nothing is judged, and all is stored when that is mended', async () => {
  const bench = await open()
  await bench.pool.query('alter table execution_traces add constraint nothing check (false) not valid')
  const worker = await bench.startWorker({ health: { host: '127.0.0.1', port: 0 } })
  const producer = new FrameProducer(bench.redis)
  for (let i = 0; i < 10; i++) await producer.send(wholeDelta('patient', 1), wholeDelta('patient', 1))
  await waitFor(async () => (await fetch(`${worker.healthUrl}/ready`)).status === 503, {
    what: 'the worker is not ready',
  })
  await bench.pool.query('alter table execution_traces drop constraint nothing')
  await bench.drained()
  expect(await bench.rows('select count(*)::int n from execution_traces')).toEqual([{ n: 20 }])
  expect(await bench.rows('select * from execution_dead_letters')).toEqual([])
})

test('rights that are missing for a moment: what was refused meanwhile, and nothing else, is stored when they are there', async () => {
  const bench = await open()
  // Of some traces only, as where a right is taken away and given back between a trace and the probe.
  const refuse = (skill: string) =>
    bench.pool.query(`create or replace function refuse() returns trigger language plpgsql as
      $$ begin if new.skill_name = '${skill}' then raise exception using errcode = '42501'; end if; return new; end $$`)
  await refuse('guarded')
  await bench.pool.query(
    'create trigger refuse before insert on execution_traces for each row execute function refuse()',
  )
  const told: string[] = []
  const worker = await bench.startWorker({
    health: { host: '127.0.0.1', port: 0 },
    log: pino({ level: 'warn' }, { write: (line: string) => told.push(line) }),
  })
  const producer = new FrameProducer(bench.redis)
  await producer.send(...['guarded', 'free', 'guarded'].map((skill) => wholeDelta(skill, 1)))
  const count = async (skill: string): Promise<number> =>
    (await bench.rows('select from execution_traces where skill_name = $1', [skill])).length
  await waitFor(() => told.some((line) => line.includes('"code":"42501"')), {
    what: 'the worker hears of it',
  })
  expect((await fetch(`${worker.healthUrl}/ready`)).status).toBe(200)
  await refuse('nothing')
  await waitFor(async () => (await count('guarded')) === 2 && (await count('free')) === 1, {
    what: 'all are stored',
  })
  expect(await bench.rows('select * from execution_dead_letters')).toEqual([])

  // For good: that is of the trace, as a policy of row-level security is.
  await refuse('forbidden')
  await producer.send(wholeDelta('forbidden', 1), wholeDelta('free', 1))
  await waitFor(async () => (await bench.rows('select from execution_dead_letters')).length === 1, {
    what: 'it is a dead letter',
  })
  await bench.drained()
  expect([await count('forbidden'), await count('free')]).toEqual([0, 2])
})

test('redis-restarted-empty: the group is made anew and new traces are stored', async () => {
  await using server = await startRedis()
  const bench = await open()
  await using _worker = await createWorker({
    redis: server.url,
    database: bench.database.url,
    migrate: false,
    log,
  })
  const redis = new Redis(server.url, { maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const producer = new FrameProducer(redis)
  await producer.send(wholeDelta('before', 1))
  const count = async (skill: string): Promise<number> =>
    (await bench.rows('select 1 from execution_traces where skill_name = $1', [skill])).length
  await waitFor(async () => (await count('before')) === 1, { what: 'the first is stored' })
  await server.kill()
  await server.restart()
  const t = newTraceId(Date.now())
  await producer.send(wholeDelta('after', 1), { t, b: 1, k: 'after', n: [0, 0] })
  await producer.send({ t, k: 'after', n: [0, 0], e: ['s', 1, 1] })
  await waitFor(async () => (await count('after')) === 2, {
    what: 'those after the restart are stored',
  })
  redis.disconnect()
})

test('redis-full: a worker that starts then makes its group, and stores all there is, also what is half in the open state', async () => {
  await using server = await startRedis()
  const bench = await open()
  const redis = new Redis(server.url)
  const producer = new FrameProducer(redis)
  const begin = (t: string) => ({ t, b: 1, k: 'full', s: [[1, 'a', 0, 1]], n: [1, 1] })
  const end = (t: string) => ({ t, k: 'full', n: [1, 1], e: ['s', 2, 2] })
  const traces = Array.from({ length: 200 }, () => newTraceId(Date.now()))
  const [folded, unread] = [traces.slice(0, 100), traces.slice(100)]
  const options = {
    redis: server.url,
    database: bench.database.url,
    migrate: false,
    checkpointMs: 60_000,
    log,
  }
  await producer.send(...folded.map(begin))
  const before = await createWorker(options)
  await waitFor(async () => (await redis.zcard('stepwell:{0}:due')) === 100, { what: 'they are open' })
  await before.close()
  await producer.send(...unread.map(begin))
  await producer.send(...traces.map(end))
  // Another team's, whose first worker comes only now.
  await new FrameProducer(redis, 'other').send(...traces.slice(0, 10).map(begin))
  await redis.config('SET', 'maxmemory', '1')
  await expect(producer.send()).rejects.toThrow(/^OOM/)

  await using _worker = await createWorker(options)
  const stored = `select 1 from execution_traces where status = 'success' and step_count = 1 and missing_steps = 0`
  await waitFor(async () => (await bench.rows(stored)).length === 200, { what: 'all are stored, whole' })
  await waitFor(async () => (await redis.keys('stepwell:{0}:[do][up]e*')).length === 0, {
    what: 'nothing is open any more',
  })
  await waitFor(async () => (await redis.hget('stepwell:{0}:counts', 'stored')) === '3', {
    what: 'the entries are acked, and counted',
  })
  await using _other = await createWorker({ ...options, namespace: 'other' })
  await waitFor(async () => (await redis.hget('other:{0}:counts', 'stored')) === '1', {
    what: 'its entry is acked, and counted',
  })
  redis.disconnect()
})
