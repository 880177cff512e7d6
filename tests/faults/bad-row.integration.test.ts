import { type Delta, newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'
import type { ExpectedRun } from './load.ts'

/** Halving 500 takes ten refused statements; then the probe, which is taken back, and once more the row alone. */
const ROLLBACKS_MAX = 15

// What comes from producers is bounded so that no row of it is refused; so the table gets a rule of its own.
// The worker comes when all is there: so it takes it in as few batches as it can.
async function openBench(): Promise<FaultBench> {
  const bench = await openFaultBench()
  await bench.rows(`alter table execution_traces add constraint no_poison check (skill_name <> 'poison')`)
  return bench
}
const REFUSED = expect.stringMatching(/^Postgres refuses it: .*no_poison/)
const skillOf = (i: number): string => (i === 617 ? 'poison' : 'good')

test('bad-row among 1,000 whole runs: it alone is a dead letter, found by halving', async () => {
  await using bench = await openBench()
  const deltas = Array.from({ length: 1_000 }, (_, i) => wholeDelta(skillOf(i), 1))
  await new FrameProducer(bench.redis).send(...deltas)
  await bench.startWorker()
  expect(await bench.account(expected(deltas, 1))).toEqual({ ...ALL_WELL, dead: [REFUSED] })
  expect(await storedCount(bench)).toBe(999)
  expect(await rollbacks(bench)).toBeLessThanOrEqual(ROLLBACKS_MAX)
})

test('bad-row among 1,000 open runs: all that was said of it, and nothing else, is in dead letters', async () => {
  await using bench = await openBench()
  const producer = new FrameProducer(bench.redis)
  const begun = Array.from(
    { length: 1_000 },
    (_, i): Delta => ({ t: newTraceId(Date.now()), b: 1, k: skillOf(i), n: [0, 0] }),
  )
  await Promise.all([
    producer.send(...begun),
    producer.send(...begun.map(({ t, k, n }) => ({ t, k, n, e: ['s', 1, 1] }))),
  ])
  await bench.startWorker()
  expect(await bench.account(expected(begun, 0))).toEqual({ ...ALL_WELL, dead: [REFUSED, REFUSED] })
  expect(await storedCount(bench)).toBe(999)
  expect(await rollbacks(bench)).toBeLessThanOrEqual(ROLLBACKS_MAX)
  const letters = await bench.rows<{ id: string }>('select distinct trace_id id from execution_dead_letters')
  expect(letters).toEqual([{ id: begun[617]?.t }])
})

function expected(deltas: readonly Delta[], steps: number): Map<string, ExpectedRun> {
  return new Map(deltas.map(({ t }) => [t, { status: 'success', steps, errorMessage: null }]))
}

const storedCount = async (bench: FaultBench): Promise<number> =>
  (await bench.rows('select 1 from execution_traces')).length

/** Statements that were refused, and probes; counted when the worker's connections have ended. */
async function rollbacks(bench: FaultBench): Promise<number> {
  const others = `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
  await waitFor(async () => (await bench.rows(others)).length === 0, { what: 'connections end' })
  const [row] = await bench.rows<{ n: number }>(
    'select xact_rollback::int n from pg_stat_database where datname = current_database()',
  )
  // Not one would mean that Postgres does not count.
  expect(row?.n).toBeGreaterThan(5)
  return row?.n as number
}
