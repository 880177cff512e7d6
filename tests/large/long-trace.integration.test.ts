import { TraceQuery } from '@stepwell/query'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { runCli } from '../cli-bench.ts'
import { type FaultBench, type FaultWorker, openFaultBench } from '../faults/fault-bench.ts'
import { type LongTraceReport, spawnLongTrace } from './long-trace.ts'

interface Row {
  status: string
  step_count: number
  missing_steps: number
  version: number
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** Records a trace in a process of its own; resolves when it is stored and nothing is open. */
async function record(bench: FaultBench, steps: number, seconds = 0): Promise<LongTraceReport> {
  await using producer = spawnLongTrace(bench, steps, seconds)
  const { code } = await producer.exited
  expect(producer.stderr()).toBe('')
  expect(code).toBe(0)
  const report = JSON.parse(producer.stdout()) as LongTraceReport
  expect(report.counters).toMatchObject({ emitted: steps + 2, sent: steps + 2, buffered: 0, dropped: {} })
  await waitFor(async () => (await rowOf(bench, report.traceId))?.status === 'success', {
    what: 'the trace is stored',
  })
  return report
}

async function rowOf(bench: FaultBench, traceId: string): Promise<Row | undefined> {
  const columns = 'status, step_count, missing_steps, version'
  const [row] = await bench.rows<Row>(`select ${columns} from execution_traces where trace_id = $1`, [
    traceId,
  ])
  return row
}

const cpuSeconds = (worker: FaultWorker): Promise<number> => worker.metric('process_cpu_seconds_total')

test('a step costs the same in a trace of 1,000, 10,000 and 100,000 steps, checkpoints included', async () => {
  await using bench = await openFaultBench()
  const worker = await bench.startWorker({ STEPWELL_MAX_STEPS: '200000' })
  const costs: { steps: number; workerUs: number; clientUs: number }[] = []
  for (const steps of [1_000, 10_000, 100_000]) {
    const before = await cpuSeconds(worker)
    const { traceId, cpuUs, rssMaxBytes } = await record(bench, steps, 3)
    const workerUs = ((await cpuSeconds(worker)) - before) * 1e6
    costs.push({ steps, workerUs: workerUs / steps, clientUs: cpuUs / steps })
    const row = await rowOf(bench, traceId)
    expect(row).toMatchObject({ step_count: steps, missing_steps: 0 })
    // It was stored while it ran: after one second, and after two.
    expect(row?.version).toBeGreaterThanOrEqual(2)
    expect(rssMaxBytes).toBeLessThan(200 << 20)
  }
  console.log(
    costs
      .map(
        ({ steps, workerUs, clientUs }) =>
          `${steps} steps in 3 s: ${workerUs.toFixed(1)} µs of a worker's CPU a step, ${clientUs.toFixed(1)} of the producer's`,
      )
      .join('\n'),
  )
  for (const [i, { workerUs, clientUs }] of costs.slice(1).entries()) {
    const smaller = costs[i] as (typeof costs)[number]
    // Were it quadratic, ten times as many steps would make each cost ten times as much.
    expect(workerUs).toBeLessThan(2 * smaller.workerUs)
    expect(clientUs).toBeLessThan(2 * smaller.clientUs)
  }
})

test('150,000 steps: the first 10,000 are kept and the rest counted; with the limit raised all are; and all that shows them says so', async () => {
  await using bench = await openFaultBench()
  const env = { REDIS_URL: bench.server.url, DATABASE_URL: bench.databaseUrl }
  await using query = new TraceQuery({ connectionString: bench.databaseUrl })
  const first = await bench.startWorker()
  const { traceId: cut } = await record(bench, 150_000)
  expect(await rowOf(bench, cut)).toMatchObject({ step_count: 10_000, missing_steps: 140_000 })
  const kept = await query.getTrace(cut)
  expect(kept?.steps.map((step) => step.id)).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1))
  const shown = (await runCli(['trace', cut], env)).stdout
  expect(shown).toContain('140,000 steps were recorded and did not arrive, or were cut')
  expect(shown).toContain('… 9800 more steps: --all shows them')
  await first.kill('SIGTERM')

  const second = await bench.startWorker({ STEPWELL_MAX_STEPS: '200000' })
  const { traceId: whole } = await record(bench, 150_000)
  expect(await rowOf(bench, whole)).toMatchObject({ step_count: 150_000, missing_steps: 0 })
  expect((await query.getTrace(whole))?.steps.at(-1)?.id).toBe(150_000)
  expect((await runCli(['trace', whole], env)).stdout.split('\n').length).toBeLessThan(220)
  const all = await runCli(['trace', whole, '--all'], env)
  expect(all.stderr).toBe('')
  expect(all.stdout.split('\n').length).toBeGreaterThan(150_000)
  // What is exported can be imported: here again, where it changes nothing.
  const exported = await runCli(['export', '--skill', 'long'], env)
  expect(
    exported.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).steps.length),
  ).toEqual([150_000, 10_000])
  expect(JSON.parse(exported.stdout.split('\n')[1] as string).missing_steps).toBe(140_000)
  const imported = await runCli(['import', '-'], env, { input: exported.stdout })
  expect(imported.stdout + imported.stderr).toContain('imported 2 traces\n')
  expect(await rowOf(bench, whole)).toMatchObject({ step_count: 150_000, missing_steps: 0 })
  expect(await rowOf(bench, cut)).toMatchObject({ step_count: 10_000, missing_steps: 140_000 })

  const rss = await second.metric('process_resident_memory_bytes')
  console.log(`150,000 steps: the worker has ${mebibytes(rss)}`)
  expect(rss).toBeLessThan(768 << 20)
})
