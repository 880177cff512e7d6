import { assemble, type Delta, newTraceId, rowOfState } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer } from '../../apps/worker/test/frame-producer.ts'
import { runCli } from '../cli-bench.ts'
import { ExpectedRows } from './expected-rows.ts'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import { seededRandom, shuffled } from './seeded-random.ts'

const SEED = 20_261_126
const HOUR_MS = 3_600_000
const SKEW_MS = 600_000

/** What the owner and a process that attached say of one run; of a step and of the end two versions each. */
function framesOf(t: string, attached: string): { owner: Delta[]; other: Delta[] } {
  const k = 'ordered'
  return {
    owner: [
      {
        t,
        b: 1,
        k,
        x: `exec-${t}`,
        m: { env: 'test' },
        r: 1,
        s: [
          [1, 'plan', 0, 1],
          [2, 'run', 2],
        ],
        n: [2, 1],
      },
      { t, k, s: [[2, 'run', 2, 30]], n: [2, 2] },
      // The same step once more, with another result: both are completed, none is a correction.
      { t, k, s: [[2, 'run', 2, 31, 1, 'exit code 1']], n: [2, 2] },
      { t, k, m: { env: 'test', digest: 'sha256:1' }, r: 2, n: [2, 2], e: ['f', 40, 39.5, 'exit code 1'] },
      { t, k, n: [2, 2], e: ['s', 40, 39.5] },
    ],
    other: [
      // Its clock is ten minutes behind: kept as it is.
      { t, s: [[`${attached}.1`, 'part', 3 - SKEW_MS]], n: [1, 0] },
      {
        t,
        s: [
          [`${attached}.1`, 'part', 3 - SKEW_MS, 9],
          [`${attached}.2`, 'part', 12 - SKEW_MS, 5, 0, null, 2],
        ],
        n: [2, 2],
      },
    ],
  }
}

test('any-order: frames twice, shuffled over three workers, ends before starts, hours late, over a month border, clocks apart: each run as its deltas say', async () => {
  await using bench = await openFaultBench()
  await Promise.all([bench.startWorker(), bench.startWorker(), bench.startWorker()])
  const random = seededRandom(SEED)
  const [owner, other] = [new FrameProducer(bench.redis), new FrameProducer(bench.redis)]
  const expected = new ExpectedRows()
  const frameOf = (producer: FrameProducer, deltas: readonly Delta[]): string[] => {
    expected.add(producer.id, ...deltas)
    return producer.encode(deltas)
  }

  const now = Date.now()
  const border = Date.UTC(2025, 2, 1)
  const starts = [
    ...Array.from({ length: 60 }, () => now),
    ...Array.from({ length: 20 }, () => now - 5 * HOUR_MS),
    ...Array.from({ length: 20 }, (_, i) => border - 10 + i),
  ]
  const frames: string[][] = []
  for (const start of starts) {
    const deltas = framesOf(newTraceId(start), other.id)
    for (const delta of deltas.owner) frames.push(frameOf(owner, [delta]))
    for (const delta of deltas.other) frames.push(frameOf(other, [delta]))
  }
  for (const fields of shuffled([...frames, ...frames], random)) await owner.sendFields(fields)
  await settled(bench, expected)

  // Hours later: all is stored and gone from Redis, and so are the correlation keys, by their own expiry.
  const keys = await bench.redis.keys('trace_context:*')
  expect(keys).toHaveLength(starts.length)
  await Promise.all(keys.map((key) => bench.redis.pexpire(key, 1)))
  await waitFor(async () => (await bench.redis.keys('trace_context:*')).length === 0, { what: 'keys expire' })
  const ids = await bench.rows<{ id: string }>('select trace_id id from execution_traces order by 1')
  const late = new FrameProducer(bench.redis)
  const lateFrames = ids.flatMap(({ id }) => [
    frameOf(late, [{ t: id, s: [[`${late.id}.1`, 'late', 7_200_000, 3]], n: [1, 1] }]),
    // A correction of a step, and one that says less than what is known.
    frameOf(owner, [
      { t: id, k: 'ordered', s: [[1, 'plan', 0, 2, 0, null, null, { corrected: true }, 1]], n: [2, 2] },
    ]),
    frameOf(owner, [{ t: id, k: 'ordered', s: [[2, 'run', 2]], n: [2, 1] }]),
  ])
  for (const fields of shuffled([...lateFrames, ...frames.slice(0, 50)], random))
    await owner.sendFields(fields)
  await settled(bench, expected)

  const { unknown, ...account } = await bench.account(new Map())
  const { unknown: _, ...allWell } = ALL_WELL
  expect(account, `seed ${SEED}`).toEqual(allWell)
  expect(unknown).toHaveLength(starts.length)
  expect(await expected.differences(bench), `seed ${SEED}`).toEqual([])

  // The clock that differs is told to who looks, and the times are as they were.
  const env = { REDIS_URL: bench.server.url, DATABASE_URL: bench.databaseUrl }
  const id = String(ids[0]?.id)
  expect(JSON.parse((await runCli(['trace', id, '--json'], env)).stdout).clock_skew).toMatchObject({
    steps_before: 2,
    before_ms: SKEW_MS - 3,
    steps_after: 1,
  })
  expect((await runCli(['trace', id], env)).stdout).toContain(
    'clocks    2 steps start up to 10m 00s before the run: a clock differs',
  )
  expect(
    await bench.rows(
      'select tableoid::regclass::text partition, count(*)::int runs from execution_traces where started_at < $1 group by 1 order by 1',
      [new Date(now - 48 * HOUR_MS)],
    ),
  ).toEqual([
    { partition: 'execution_traces_2025_02', runs: 10 },
    { partition: 'execution_traces_2025_03', runs: 10 },
  ])
})

test('completed-twice: two results of one step come in each order, and the run is the same', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  const t = newTraceId(Date.now())
  const { owner } = framesOf(t, 'x')
  const expected = rowOfState(assemble(owner.map((delta) => ({ producer: '', delta }))))
  const orders = permutations([0, 1, 2, 3, 4])
  const producer = new FrameProducer(bench.redis)
  const runs = orders.map((order) => ({ t: newTraceId(Date.now()), order }))
  // Place by place, so that each delta of a run can be stored before the next comes.
  for (let place = 0; place < 5; place++) {
    const deltas = runs.map(({ t: id, order }) => ({ ...(owner[order[place] as number] as Delta), t: id }))
    for (let i = 0; i < deltas.length; i += 10) await producer.send(...deltas.slice(i, i + 10))
  }
  const { unknown, ...account } = await bench.account(new Map())
  const { unknown: _, ...allWell } = ALL_WELL
  expect(account).toEqual(allWell)
  expect(unknown).toHaveLength(120)
  expect(
    await bench.rows(
      'select distinct status, error_message, total_duration_ms, step_count, missing_steps, steps::text, metadata from execution_traces',
    ),
  ).toEqual([
    {
      status: expected.status,
      error_message: expected.error_message,
      total_duration_ms: expected.total_duration_ms,
      step_count: 2,
      missing_steps: 0,
      steps: JSON.stringify(expected.steps),
      metadata: expected.metadata,
    },
  ])
})

async function settled(bench: FaultBench, expected: ExpectedRows): Promise<void> {
  await waitFor(async () => (await expected.differences(bench)).length === 0, {
    what: 'each run is as its deltas say',
    intervalMs: 200,
  }).catch(async (error: Error) => {
    throw new Error(
      `${error.message}, seed ${SEED}: ${(await expected.differences(bench)).slice(0, 3).join('\n')}`,
    )
  })
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, i) =>
    permutations(items.filter((_, k) => k !== i)).map((rest) => [item, ...rest]),
  )
}
