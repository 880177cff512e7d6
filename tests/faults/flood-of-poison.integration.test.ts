import { expect, test } from 'vitest'
import { runCli } from '../cli-bench.ts'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'
import { seededRandom } from './seeded-random.ts'

const SEED = 20_261_124
const ENTRIES = 100_000
const LETTERS_MAX = 2_000

/** Entries that nobody can read, each for a reason of its own kind. */
const POISON: Record<string, (random: () => number) => string[]> = {
  'v: Invalid input: expected string, received undefined': (random) => ['junk', random().toString(36)],
  "v: unknown frame version '9': this worker reads 1": (random) => [
    ...['v', '9', 'p', 'future', 'n', String(Math.floor(random() * 1e9)), 'c', '0', 'd', '[]'],
  ],
  'deltas (d): not an array': () => ['v', '1', 'p', 'odd', 'n', '1', 'c', '0', 'd', '{}'],
  'p: not a producer id': (random) => [
    ...['v', '1', 'p', `nobody ${random()}`, 'n', '1', 'c', '1', 'd', '[1]'],
  ],
}

test('flood-of-poison: 100,000 entries that cannot be read, amid real work: a bounded part is kept, the rest counted by reason, and every run is stored', async () => {
  await using bench = await openFaultBench()
  const env = { STEPWELL_DEAD_LETTERS_MAX: String(LETTERS_MAX) }
  const worker = await bench.startWorker(env)
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 200 }).start()
  const random = seededRandom(SEED)
  const kinds = Object.entries(POISON)
  const sent = new Map(kinds.map(([reason]) => [reason, 0]))
  for (let i = 0; i < ENTRIES; ) {
    const pipeline = bench.redis.pipeline()
    for (const end = i + 1_000; i < end; i++) {
      const [reason, make] = kinds[Math.floor(random() * kinds.length)] as (typeof kinds)[number]
      sent.set(reason, (sent.get(reason) as number) + 1)
      pipeline.xadd('stepwell:{0}:events', '*', ...make(random))
    }
    await pipeline.exec()
  }
  await load.stop()
  const { dead: _, ...allWell } = ALL_WELL
  const { dead, ...account } = await bench.account(load.runs)
  expect(account, `seed ${SEED}`).toEqual(allWell)
  // Two batches may have been in hand when the table was full.
  expect(dead.length).toBeGreaterThanOrEqual(LETTERS_MAX)
  expect(dead.length).toBeLessThan(3 * LETTERS_MAX)
  const [size] = await bench.rows<{ bytes: string }>(
    "select pg_total_relation_size('execution_dead_letters') + pg_total_relation_size('execution_dead_letters_not_kept') as bytes",
  )
  console.log(`flood-of-poison: ${dead.length} letters kept, ${size?.bytes} bytes in Postgres`)
  expect(Number(size?.bytes)).toBeLessThan(8 << 20)

  // The log says it once.
  expect(worker.stdout().match(/no room for more dead letters/g)).toHaveLength(1)
  // Counted by reason, for those who come later: another worker, the command line.
  const next = await bench.startWorker(env)
  expect(await next.metric('stepwell_dead_letters')).toBe(dead.length)
  const cli = async (...args: string[]) => {
    const end = await runCli([...args, '--json'], {
      REDIS_URL: bench.server.url,
      DATABASE_URL: bench.databaseUrl,
    })
    return { code: end.code, ...JSON.parse(end.stdout) }
  }
  const { reasons } = await cli('dead', 'list', '--limit', '1')
  expect(new Map(reasons.map((one: Reason) => [one.reason, one.letters + one.not_kept.no_room]))).toEqual(
    sent,
  )
  for (const { reason, not_kept } of reasons as Reason[])
    expect(await next.metric(`stepwell_dead_letters_not_kept{reason="${reason}",why="no_room"}`)).toBe(
      not_kept.no_room,
    )
  const doctor = await cli('doctor')
  expect(doctor.code).toBe(1)
  expect(doctor.checks).toContainEqual(
    expect.objectContaining({
      name: 'dead letters',
      status: 'fail',
      found: `${dead.length.toLocaleString('en-US')}; ${(ENTRIES - dead.length).toLocaleString('en-US')} not kept for want of room`,
    }),
  )
})

interface Reason {
  reason: string
  letters: number
  not_kept: { no_room: number }
}
