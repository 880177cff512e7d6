import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_127
const SHUTDOWN_S = '2'
/** Less than the 20 s that it would have without being told, and much for a busy machine. */
const ENDS_WITHIN_MS = 15_000

test('worker-terminated: by SIGTERM, again and again, at work and while Redis or Postgres does not answer: it ends with 0 in time, and nothing is lost', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  const load = new Load({ redis: bench.server.url, seed: SEED }).start()
  const holder = await bench.pool.connect()
  const faults = [
    { name: 'nothing', begin: () => {}, end: () => {} },
    { name: 'Redis', begin: () => bench.server.pause(), end: () => bench.server.resume() },
    {
      name: 'Postgres',
      begin: () => holder.query('begin; lock table execution_traces in access exclusive mode'),
      end: () => holder.query('rollback'),
    },
  ]
  for (const { name, begin, end } of faults) {
    const worker = await bench.startWorker({ STEPWELL_SHUTDOWN_S: SHUTDOWN_S })
    const stored = 'stepwell_traces_stored_total{path="whole"}'
    await waitFor(async () => (await worker.metric(stored)) > 50, {
      what: 'it is at work',
    })
    await begin()
    const startMs = performance.now()
    const ends = await Promise.all([worker.kill('SIGTERM'), worker.kill('SIGINT'), worker.kill('SIGTERM')])
    expect({ name, end: ends[0] }).toEqual({ name, end: { code: 0, signal: null } })
    expect(performance.now() - startMs).toBeLessThan(ENDS_WITHIN_MS)
    await end()
  }
  holder.release()
  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})
