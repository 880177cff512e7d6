import { newTraceId, shardKeys } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { runCli } from '../cli-bench.ts'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import type { ExpectedRun } from './load.ts'

const keys = shardKeys('stepwell', 0)

/** Runs of which all is sent but the end; `end` sends that. */
class Runs {
  readonly expected = new Map<string, ExpectedRun>()
  readonly #producer: FrameProducer
  readonly #open: string[] = []

  constructor(bench: FaultBench) {
    this.#producer = new FrameProducer(bench.redis)
  }

  get producer(): string {
    return this.#producer.id
  }

  /** Begins runs, one that is over at once among them; gives the ids of those that are open. */
  async begin(count: number): Promise<string[]> {
    const whole = wholeDelta('whole', 2)
    const ids = Array.from({ length: count }, () => newTraceId(Date.now()))
    for (const id of [whole.t, ...ids])
      this.expected.set(id, { status: 'success', steps: 2, errorMessage: null })
    await this.#producer.send(
      whole,
      ...ids.map((t) => ({ t, b: 1, k: 'open', s: [[1, 'a', 0, 1]], n: [1, 1] })),
    )
    this.#open.push(...ids)
    return ids
  }

  async end(): Promise<void> {
    for (const t of this.#open.splice(0))
      await this.#producer.send({ t, k: 'open', s: [[2, 'b', 1, 1]], n: [2, 2], e: ['s', 5, 5] })
  }
}

test('foreign-hands: what others put at our keys, into our hashes and into our stream holds nothing up', async () => {
  await using bench = await openFaultBench()
  const { redis } = bench
  // Before anybody works: the index is a list, and what else we would write is text.
  await redis.rpush(keys.due, 'mine')
  for (const key of [keys.producers, keys.told, keys.counts]) await redis.set(key, 'mine')
  const [worker] = await Promise.all([bench.startWorker(), bench.startWorker()])
  const runs = new Runs(bench)
  await redis.set(keys.openBy(runs.producer), 'mine')
  const first = await runs.begin(3)
  await waitFor(async () => (await stored(bench, `status = 'running'`)).length === 3, {
    what: 'open runs are stored',
  })
  await runs.end()
  await waitFor(async () => (await stored(bench, `status = 'success'`)).length === 4, {
    what: 'all are stored, without an index',
  })
  expect(await redis.lrange(keys.due, 0, -1)).toEqual(['mine'])
  await waitFor(() => worker?.stdout().includes(`somebody else put something at ${keys.due}`), {
    what: 'it is told',
  })
  expect(await worker?.health('/live')).toBe(200)
  const doctor = await runCli(['doctor', '--json'], {
    REDIS_URL: bench.server.url,
    DATABASE_URL: bench.databaseUrl,
  })
  expect(doctor.code).toBe(1)
  expect(JSON.parse(doctor.stdout).checks).toContainEqual(
    expect.objectContaining({
      name: 'keys',
      status: 'fail',
      found: [
        `${keys.due} is a list and not a zset`,
        `${keys.producers} is a string and not a zset`,
        `${keys.counts} is a string and not a hash`,
        `${keys.told} is a string and not a hash`,
      ].join(', '),
    }),
  )
  await redis.del(keys.due, keys.producers, keys.told, keys.counts)

  // At the text of one trace is a list before its first delta comes, at that of another from when it is open.
  const blocked = newTraceId(Date.now())
  await redis.rpush(keys.open(blocked), 'mine')
  const producer = new FrameProducer(redis)
  runs.expected.set(blocked, { status: 'success', steps: 1, errorMessage: null })
  await producer.send({ t: blocked, b: 1, k: 'blocked', n: [0, 0] })
  const [taken, other] = (await runs.begin(2)) as [string, string]
  const open = `status = 'running' and step_count = 1 and trace_id in ('${taken}', '${other}')`
  await waitFor(async () => (await stored(bench, open)).length === 2, { what: 'both are stored as running' })
  await redis.del(keys.open(taken))
  await redis.rpush(keys.open(taken), 'mine')
  // Records that are no deltas, one of another trace, and one that is no text.
  const foreign: (string | Buffer)[] = [
    'mine',
    '\n__proto__ {}',
    '\na:1 {"t":',
    '\na:2 {}',
    `\na:3 ${JSON.stringify({ t: first[0], k: 'x', n: [0, 0] })}`,
    Buffer.from([0x0a, 0xff, 0xfe, 0x00]),
  ]
  // What comes first stands in front of all that is ours.
  const [before, ...after] = foreign as [string, ...(string | Buffer)[]]
  await redis.set(keys.open(other), before + (await redis.get(keys.open(other))))
  for (const text of after) await redis.append(keys.open(other), text)
  await producer.send({ t: blocked, k: 'blocked', s: [[1, 'a', 0, 1]], n: [1, 1], e: ['s', 5, 5] })
  await runs.end()
  await redis.xadd(keys.events, '*', 'anything', 'else')
  await redis.xadd(keys.events, '*', Buffer.from([0xff, 0x00, 0xc3]), Buffer.from([0x80, 0x00]))

  await waitFor(async () => (await stored(bench, `status = 'success'`)).length === runs.expected.size, {
    what: 'all are stored',
  })
  // What is not ours is as it was.
  for (const key of [keys.open(blocked), keys.open(taken)])
    expect(await redis.lrange(key, 0, -1)).toEqual(['mine'])
  expect(await redis.get(keys.openBy(runs.producer))).toBe('mine')
  await redis.del(keys.open(blocked), keys.open(taken), keys.openBy(runs.producer))
  const { dead, ...account } = await bench.account(runs.expected)
  expect(dead.toSorted()).toEqual([
    ...foreign.map(() => expect.stringMatching(/^in the open state of a trace, and no delta of it/)),
    ...[1, 2].map(() => 'v: Invalid input: expected string, received undefined'),
  ])
  // What was acked while nothing could be counted: the frame that began the first runs, and the three that ended them.
  const { dead: _, ...allWell } = ALL_WELL
  expect(account).toEqual({ ...allWell, unaccountedEntries: 4 })
})

const stored = (bench: FaultBench, condition: string): Promise<unknown[]> =>
  bench.rows(`select 1 from execution_traces where ${condition}`)
