import { openRecords } from '@stepwell/protocol'
import { faultProxy, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { type ExpectedRun, Load } from './load.ts'
import { seededRandom } from './seeded-random.ts'

const SEED = 20_261_124

test('worker-killed: killed -9 at random moments, 20 times, while two others work', {
  timeout: 300_000,
}, async () => {
  await using bench = await openFaultBench()
  await Promise.all([bench.startWorker(), bench.startWorker()])
  const random = seededRandom(SEED)
  const load = new Load({ redis: bench.server.url, seed: SEED }).start()
  for (let kill = 0; kill < 20; kill++) {
    const victim = await bench.startWorker()
    const momentMs = performance.now() + random() * 300
    await waitFor(() => performance.now() >= momentMs, { what: 'its moment comes', intervalMs: 1 })
    await victim.kill('SIGKILL')
  }
  await waitFor(() => load.runs.size > 1_000, { what: 'there were many runs' })
  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

test('worker-killed-between-commit-and-ack: what it had stored is delivered again, and stays as it is', async () => {
  await using bench = await openFaultBench()
  await using proxy = await faultProxy(bench.server.url)
  const victim = await bench.startWorker({ REDIS_URL: proxy.url })
  // As if another were there: one that is alone for some seconds would keep the beginning to itself.
  await bench.redis.xgroup('CREATECONSUMER', 'stepwell:{0}:events', 'stepwell', 'another')
  const producer = new FrameProducer(bench.redis)
  const whole = wholeDelta('killed', 3)
  const { s, e, n, ...head } = wholeDelta('killed', 3)
  const runs = new Map<string, ExpectedRun>(
    [whole.t, head.t].map((id) => [id, { status: 'success', steps: 3, errorMessage: null }]),
  )
  // While somebody else holds the table nothing is committed; when that ends, Redis does not hear of it any more.
  const holder = await bench.pool.connect()
  await holder.query('begin; lock table execution_traces in share mode')
  await producer.send(whole)
  await producer.send({ ...head, s: s?.slice(0, 1), n: [1, 1] })
  await producer.send({ t: head.t, k: 'killed', s: s?.slice(1), n, e })
  const blocked = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into execution_traces%' and datname = current_database()`
  await waitFor(async () => (await bench.rows(blocked)).length === 2, {
    what: 'both writes wait for the table',
  })
  proxy.pause()
  await holder.query('commit')
  holder.release()
  await waitFor(async () => (await bench.rows('select 1 from execution_traces')).length === 2, {
    what: 'both are stored',
  })
  expect(Number(((await bench.redis.xpending('stepwell:{0}:events', 'stepwell')) as [number])[0])).toBe(1)
  expect(openRecords((await bench.redis.get(`stepwell:{0}:open:${head.t}`)) ?? '')).toHaveLength(2)
  await victim.kill('SIGKILL')
  await bench.startWorker()
  expect(await bench.account(runs)).toEqual(ALL_WELL)
  expect(await bench.rows('select distinct version from execution_traces')).toEqual([{ version: 1 }])
})
