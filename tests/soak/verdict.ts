import type { TracerCounters } from '@stepwell/client'
import type { Account, FaultBench } from '../faults/fault-bench.ts'
import type { ExpectedRun } from '../faults/load.ts'
import type { Journal } from './journal.ts'
import type { DoneFault } from './random-faults.ts'

/** What became of the runs. */
export interface Verdict {
  begun: number
  accepted: number
  /** Of producers that were killed, not accepted before: what they may be. */
  unaccepted: { whole: number; timedOut: number; inPart: number; gone: number }
  /** `missing` and `wrong` are about accepted runs, `unknown` about runs that nobody began. */
  account: Account
  /** Events that producers dropped, by reason. */
  dropped: Record<string, number>
  /** From the end of a run to its row, milliseconds; `quiet`: of those that ended while nothing was wrong. */
  latencyMs: { all: Percentiles; quiet: Percentiles }
}

/** Milliseconds. */
export interface Percentiles {
  p50: number
  p95: number
  p99: number
  most: number
}

interface Row {
  trace_id: string
  status: string
  step_count: number
  missing_steps: number
  error_message: string | null
  completed_ms: string | null
  ingested_ms: string
}

/** After a fault, until the latency counts as quiet again. */
const AFTER_FAULT_MS = 5_000

/** Waits until everything is worked off and says what became of each run. Workers are ended. */
export async function judge(
  bench: FaultBench,
  { begun, accepted }: Journal,
  producers: readonly string[],
  faults: readonly DoneFault[],
  timeoutMs: number,
): Promise<Verdict> {
  const expected = new Map<string, ExpectedRun>()
  for (const id of accepted) expected.set(id, begun.get(id) as ExpectedRun)
  const account = await bench.account(expected, { timeoutMs })
  const rows = await bench.rows<Row>(
    `select trace_id, status, step_count, missing_steps, error_message,
            extract(epoch from completed_at) * 1000 as completed_ms, extract(epoch from ingested_at) * 1000 as ingested_ms
       from execution_traces`,
  )
  const unaccepted = { whole: 0, timedOut: 0, inPart: 0, gone: begun.size - accepted.size }
  for (const row of rows) {
    const run = begun.get(row.trace_id)
    if (run === undefined || accepted.has(row.trace_id)) continue
    unaccepted.gone -= 1
    const was = [row.status, row.step_count, row.error_message].join(' ')
    if (row.status === 'timeout') unaccepted.timedOut += 1
    else if (row.missing_steps > 0) unaccepted.inPart += 1
    else if (was === [run.status, run.steps, run.errorMessage].join(' ')) unaccepted.whole += 1
    // It was not accepted; that is no reason to tell of it what was not so.
    else account.wrong.push(`${row.trace_id}: ${was}, and looks whole`)
  }
  const dropped: Record<string, number> = {}
  for (const text of producers)
    for (const [reason, count] of Object.entries((JSON.parse(text) as TracerCounters).dropped))
      dropped[reason] = (dropped[reason] ?? 0) + count
  const ended = rows
    .filter((row) => accepted.has(row.trace_id) && row.completed_ms !== null)
    .map((row) => ({
      atMs: Number(row.completed_ms),
      tookMs: Number(row.ingested_ms) - Number(row.completed_ms),
    }))
  const isQuiet = ({ atMs }: { atMs: number }): boolean =>
    faults.every(({ fromMs, toMs }) => atMs < fromMs - AFTER_FAULT_MS / 5 || atMs > toMs + AFTER_FAULT_MS)
  return {
    begun: begun.size,
    accepted: accepted.size,
    unaccepted,
    account: { ...account, unknown: account.unknown.filter((id) => !begun.has(id)) },
    dropped,
    latencyMs: { all: percentiles(ended), quiet: percentiles(ended.filter(isQuiet)) },
  }
}

function percentiles(all: readonly { tookMs: number }[]): Percentiles {
  const sorted = all.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1) }
}
