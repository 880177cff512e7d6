import { assemble, rowOfState } from '@stepwell/protocol'
import { decodeFrame, isDelta } from '@stepwell/protocol/schema'
import { expect, test } from 'vitest'
import { FrameProducer } from '../../apps/worker/test/frame-producer.ts'
import { ExpectedRows } from './expected-rows.ts'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { mutatedFrames } from './mutated-frames.ts'

const SEED = 20_261_127
const MUTATED = 100_000
const SENT = 3_000

test('poison: of 100,000 mutated frames each is read or refused with a reason, and what is read can be stored', {
  timeout: 300_000,
}, () => {
  const now = Date.now()
  const outcomes = { whole: 0, part: 0, refused: 0 }
  let i = 0
  for (const flat of mutatedFrames(SEED, MUTATED)) {
    const where = `seed ${SEED}, frame ${i++}`
    const decoded = decodeFrame(flat, now)
    if (!decoded.ok) {
      outcomes.refused += 1
      if (decoded.reason === '' || decoded.reason.length > 300) expect(decoded.reason, where).toBe('a reason')
      continue
    }
    outcomes[decoded.refused.length === 0 ? 'whole' : 'part'] += 1
    const { deltas, refused, frame } = decoded
    const told = refused.every(({ reason }) => reason !== '' && reason.length <= 300)
    if (deltas.length + refused.length !== frame.deltaCount || !told)
      expect(decoded, where).toBe('accounted for')
    for (const delta of deltas) {
      const row = rowOfState(assemble([{ producer: frame.producer, delta }]))
      const numbers = [
        row.started_at.getTime(),
        row.step_count,
        row.missing_steps,
        row.total_duration_ms ?? 0,
      ]
      if (row.completed_at !== null) numbers.push(row.completed_at.getTime())
      const isStorable = numbers.every(Number.isFinite) && !/\0|\\u0000|\\ud[89a-f]/.test(JSON.stringify(row))
      if (!isDelta(delta) || !isStorable || row.missing_steps > 2 ** 31 - 1)
        expect(row, where).toBe('storable')
    }
  }
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  console.log(`poison: ${JSON.stringify(outcomes)}`)
  // It draws all of them.
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(MUTATED / 20)
})

test('poison-in-the-stream: 3,000 mutated frames through two workers: what is good is stored, what is not is a dead letter, nothing is left', async () => {
  await using bench = await openFaultBench()
  // None of them dies. On a busy machine a lease that is short enough for those tests runs out while its traces are written: then both
  // write the same, wait for each other's rows, and write them one by one.
  const env = { STEPWELL_STALE_S: '30' }
  const workers = await Promise.all([bench.startWorker(env), bench.startWorker(env)])
  const producer = new FrameProducer(bench.redis)
  const expected = new ExpectedRows()
  const reasons: string[] = []
  const now = Date.now()
  let pipeline = bench.redis.pipeline()
  for (const flat of mutatedFrames(SEED, SENT)) {
    // Redis takes pairs only.
    const fields = flat.length % 2 === 0 ? flat : [...flat, '']
    if (fields.length === 0) continue
    const decoded = decodeFrame(fields, now)
    if (decoded.ok) {
      expected.add(decoded.frame.producer, ...decoded.deltas)
      for (const { reason } of decoded.refused) reasons.push(reason)
    } else reasons.push(decoded.reason)
    pipeline.xadd('stepwell:{0}:events', '*', ...fields)
    if (pipeline.length < 200) continue
    await pipeline.exec()
    pipeline = bench.redis.pipeline()
  }
  await pipeline.exec()
  // What is open ends, so that all is settled.
  const ends = expected.endsMissing()
  for (let i = 0; i < ends.length; i += 100) {
    expected.add(producer.id, ...ends.slice(i, i + 100))
    await producer.send(...ends.slice(i, i + 100))
  }
  const { unknown, dead, ...account } = await bench.account(new Map())
  const { unknown: _, dead: __, ...allWell } = ALL_WELL
  expect(account, `seed ${SEED}`).toEqual(allWell)
  expect(await expected.differences(bench), `seed ${SEED}`).toEqual([])
  expect(unknown.length).toBe(expected.size)
  expect(dead.toSorted(), `seed ${SEED}`).toEqual(reasons.toSorted())
  expect(reasons.length).toBeGreaterThan(SENT / 4)
  expect(workers.map((worker) => worker.stderr())).toEqual(['', ''])
})
