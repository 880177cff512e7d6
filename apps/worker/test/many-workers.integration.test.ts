import { type Delta, newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

let bench: Bench

beforeAll(async () => {
  bench = await makeBench()
  await Promise.all(Array.from({ length: 4 }, () => bench.startWorker({ checkpointMs: 200 })))
})
afterAll(() => bench[Symbol.asyncDispose]())

/** A repeatable order: mulberry32, seeded. */
function shuffle<T>(items: readonly T[], seed: number): T[] {
  let state = seed
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

test.each([1, 2, 3])(
  'traces of three producers, shuffled over four workers, are whole (seed %i)',
  async (seed) => {
    const producers = Array.from({ length: 3 }, () => new FrameProducer(bench.redis))
    const traces = Array.from({ length: 60 }, () => newTraceId(Date.now()))
    const frames: string[][] = []
    for (const t of traces) {
      const deltas = producers.map((producer, p): Delta[] =>
        p === 0
          ? [
              {
                t,
                b: 1,
                k: 'shared',
                x: `exec-${t}`,
                s: [
                  [1, 'plan', 0, 1],
                  [2, 'run', 2],
                ],
                n: [2, 1],
              },
              { t, k: 'shared', s: [[2, 'run', 2, 30]], n: [2, 2] },
              { t, k: 'shared', n: [2, 2], e: ['s', 40, 39.5] },
            ]
          : [
              { t, s: [[`${producer.id}.1`, 'part', 3]], n: [1, 0] },
              {
                t,
                s: [
                  [`${producer.id}.1`, 'part', 3, 9],
                  [`${producer.id}.2`, 'part', 12, 5],
                ],
                n: [2, 2],
              },
            ],
      )
      for (const [p, list] of deltas.entries())
        for (const delta of list) frames.push((producers[p] as FrameProducer).encode([delta]))
    }
    for (const fields of shuffle(frames, seed)) await producers[0]?.sendFields(fields)
    const whole = `select count(*)::int n from execution_traces where trace_id = any($1) and status = 'success' and missing_steps = 0 and step_count = 6 and execution_id is not null`
    await waitFor(async () => (await bench.rows<{ n: number }>(whole, [traces]))[0]?.n === traces.length, {
      what: 'all traces are whole',
    })
    await bench.drained()
  },
)

test("at a month's turn partitions appear, from four workers at once, with no error", async () => {
  const producer = new FrameProducer(bench.redis)
  const turns = [Date.UTC(2024, 0, 1), Date.UTC(2024, 2, 1)]
  const deltas = turns.flatMap((turn) =>
    Array.from({ length: 200 }, (_, i) => wholeDelta('turn', 2, turn - 100 + i)),
  )
  await Promise.all(deltas.map((delta) => producer.send(delta)))
  await bench.drained()
  const partitions = await bench.rows<{ partition: string; n: number }>(
    `select tableoid::regclass::text as partition, count(*)::int n from execution_traces where skill_name = 'turn' group by 1 order by 1`,
  )
  expect(partitions).toEqual([
    { partition: 'execution_traces_2023_12', n: 100 },
    { partition: 'execution_traces_2024_01', n: 100 },
    { partition: 'execution_traces_2024_02', n: 100 },
    { partition: 'execution_traces_2024_03', n: 100 },
  ])
  expect(await bench.rows('select * from execution_dead_letters')).toEqual([])
})
