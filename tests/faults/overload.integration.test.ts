import type { TracerCounters } from '@stepwell/client'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { openFaultBench } from './fault-bench.ts'

const SECONDS = 60
const PRODUCERS = 2
/** Runs a second that the database takes, by a trigger that makes each row slow: three writes at a time of 3 ms a row. */
const CAPACITY = 1_000
const BUFFER_MAX_BYTES = 4 << 20
const BACKLOG_MAX_BYTES = 8 << 20

interface Report {
  runs: number
  atEnd: TracerCounters
  counters: TracerCounters
  rssMaxBytes: number
  delayMaxMs: number
}

test('overload: three times of what workers can take, for 60 s: memory stays bounded, what is shed is counted, the rest is stored', {
  timeout: 300_000,
}, async () => {
  await using bench = await openFaultBench()
  await bench.pool.query(`create function slow() returns trigger language plpgsql as
    $$ begin perform pg_sleep(0.003); return new; end $$`)
  await bench.pool.query(
    'create trigger slow before insert on execution_traces for each row execute function slow()',
  )
  const worker = await bench.startWorker({ STEPWELL_STALE_S: '30' })
  const memory = async (): Promise<number> =>
    Number(/used_memory:(\d+)/.exec(await bench.redis.info('memory'))?.[1])
  const emptyBytes = await memory()

  const producers = Array.from({ length: PRODUCERS }, () =>
    spawnProcess(
      new URL('./overload-producer.ts', import.meta.url),
      [(3 * CAPACITY) / PRODUCERS, SECONDS, BUFFER_MAX_BYTES, BACKLOG_MAX_BYTES].map(String),
      // A heap that holds the buffer and what a process needs, and no leak.
      { REDIS_URL: bench.server.url, NODE_OPTIONS: '--max-old-space-size=48' },
    ),
  )
  const over = Promise.all(producers.map((producer) => producer.exited)).then(() => true)
  let redisMaxBytes = 0
  let workerMaxBytes = 0
  const health = new Set<number>()
  let isOver = false
  void over.then(() => {
    isOver = true
  })
  await waitFor(
    async () => {
      redisMaxBytes = Math.max(redisMaxBytes, (await memory()) - emptyBytes)
      workerMaxBytes = Math.max(workerMaxBytes, await worker.metric('process_resident_memory_bytes'))
      health.add(await worker.health('/live')).add(await worker.health('/ready'))
      return isOver
    },
    { what: 'the producers are done', timeoutMs: (SECONDS + 60) * 1_000, intervalMs: 500 },
  )
  const storedMeanwhile = Number(
    (await bench.rows<{ n: string }>('select count(*) n from execution_traces'))[0]?.n,
  )
  const reports = producers.map((producer): Report => JSON.parse(producer.stdout()))
  const sum = (of: (report: Report) => number): number => reports.reduce((all, report) => all + of(report), 0)
  const runs = sum((report) => report.runs)
  const dropped = sum(({ counters }) => (counters.dropped.backlog ?? 0) + (counters.dropped.buffer_full ?? 0))
  const sent = sum(({ counters }) => counters.sent)
  console.log(
    `overload: ${runs} runs recorded, ${storedMeanwhile} stored meanwhile; ${dropped} of ${sum((r) => r.counters.emitted)} events shed; ` +
      `Redis ${mebibytes(redisMaxBytes)}, worker ${mebibytes(workerMaxBytes)}, producers ${reports.map((r) => mebibytes(r.rssMaxBytes)).join(' and ')}; ` +
      `event loop of producers held up for at most ${reports.map((r) => r.delayMaxMs.toFixed(1)).join(' and ')} ms`,
  )
  expect([...health]).toEqual([200])
  // Three times too much it was.
  expect(runs).toBeGreaterThan(2.5 * storedMeanwhile)
  for (const { counters } of reports) expect(counters.dropped.backlog).toBeGreaterThan(0)
  expect(sum(({ counters }) => counters.emitted)).toBe(sent + dropped)

  // Redis: the backlog, what comes in the second until it is looked at again, and the live window of 64 MiB.
  expect(redisMaxBytes).toBeLessThan(128 << 20)
  expect(workerMaxBytes).toBeLessThan(250 << 20)
  for (const { rssMaxBytes } of reports) expect(rssMaxBytes).toBeLessThan(200 << 20)

  // It catches up; nothing that was sent is lost, and what was shed shows as missing steps of the runs that it was shed from.
  // Dropping the trigger would lock months before the table, and writers lock the table first.
  await bench.pool.query(`create or replace function slow() returns trigger language plpgsql as
    $$ begin return new; end $$`)
  const account = await bench.account(new Map(), { timeoutMs: 90_000 })
  expect({ ...account, unknown: [] }).toMatchObject({
    dead: [],
    leftKeys: [],
    unaccountedEntries: 0,
    complaints: [],
  })
  const [stored] = await bench.rows<Record<string, number>>(
    `select count(*)::int traces, sum(step_count)::int steps, sum(missing_steps)::int missing,
            count(*) filter (where status = 'success')::int ended from execution_traces`,
  )
  const { traces = 0, steps = 0, missing = 0, ended = 0 } = stored ?? {}
  console.log(`overload: ${traces} runs stored, ${ended} with their end, ${steps} steps, ${missing} missing`)
  expect(traces + steps + ended).toBe(sent)
  expect(steps + missing).toBe(traces * 10)
  // Steps go before ends: a run whose start was taken has its end.
  expect(ended).toBe(traces)
})

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
