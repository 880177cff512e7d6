import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ExecutionTracer } from '@stepwell/client'
import type { StepTuple } from '@stepwell/protocol'
import { type ProcessEnd, spawnProcess, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, type FaultBench, openFaultBench } from './fault-bench.ts'

const FLUSH_INTERVAL_MS = 50
/** Node's timers count in whole milliseconds. */
const TIMER_MS = 2

type Kept = 'all' | 'all but the last interval'

/** How a producer ends, and what is kept of what it recorded. */
interface Exit {
  way: string
  /** Sent to it when it is at work; undefined: it ends by itself. */
  signal?: NodeJS.Signals
  ends: ProcessEnd
  kept: { withoutSpool: Kept; withSpool: Kept }
}

const byCode = (code: number): ProcessEnd => ({ code, signal: null })
const bySignal = (signal: NodeJS.Signals): ProcessEnd => ({ code: null, signal })
const ALL = { withoutSpool: 'all', withSpool: 'all' } as const
const ALL_WITH_SPOOL = { withoutSpool: 'all but the last interval', withSpool: 'all' } as const
const NOT_THE_LAST = {
  withoutSpool: 'all but the last interval',
  withSpool: 'all but the last interval',
} as const

const EXITS: Exit[] = [
  { way: 'returns', ends: byCode(0), kept: ALL },
  { way: 'exits', ends: byCode(7), kept: ALL_WITH_SPOOL },
  { way: 'throws', ends: byCode(1), kept: ALL_WITH_SPOOL },
  { way: 'rejects', ends: byCode(1), kept: ALL_WITH_SPOOL },
  { way: 'closes', signal: 'SIGTERM', ends: byCode(0), kept: ALL },
  { way: 'exits-when-told', signal: 'SIGINT', ends: byCode(3), kept: ALL_WITH_SPOOL },
  { way: 'hears-nothing', signal: 'SIGTERM', ends: bySignal('SIGTERM'), kept: NOT_THE_LAST },
  { way: 'hears-nothing', signal: 'SIGINT', ends: bySignal('SIGINT'), kept: NOT_THE_LAST },
  { way: 'hears-nothing', signal: 'SIGKILL', ends: bySignal('SIGKILL'), kept: NOT_THE_LAST },
]

test('producer-exits: by return, exit, exception, rejection and signals, at work: what is promised is stored, once', async () => {
  await using bench = await openFaultBench()
  // The shortest: so long it takes until runs that were open have timed out.
  await bench.startWorker({ STEPWELL_SILENCE_S: '15' })
  const folder = mkdtempSync(join(tmpdir(), 'stepwell-exits-'))
  try {
    const producers = EXITS.flatMap((exit, i): Producer[] => {
      const name = `${exit.way} ${exit.signal ?? ''}`
      const spool = join(folder, `${i}.spool`)
      return [
        { ...exit, name, log: join(folder, `${i}.log`), kept: exit.kept.withoutSpool },
        { ...exit, name: `${name} with spool`, log: `${spool}.log`, spool, kept: exit.kept.withSpool },
      ]
    })
    await Promise.all(producers.map((producer) => run(bench, producer)))
    await Promise.all(producers.map(({ spool }) => spool && sendSpool(bench, spool)))
    const account = await bench.account(new Map(), { timeoutMs: 90_000 })
    expect({ ...account, unknown: [] }).toEqual(ALL_WELL)

    const stored = await storedRuns(bench)
    const known = new Set<string>()
    for (const { name, log, kept } of producers) {
      const recorded = readLog(log)
      expect(recorded.length, name).toBeGreaterThan(900)
      for (const { traceId } of recorded) known.add(traceId)
      const { missing, lost, lastMs } = compare(recorded, stored, kept)
      if (lost > 0)
        console.log(`${name}: of ${recorded.length} events ${lost} lost, of the last ${lastMs} ms`)
      expect({ name, missing }).toEqual({ name, missing: [] })
      expect({ name, odd: oddRuns(recorded, stored) }).toEqual({ name, odd: [] })
    }
    // One at most was killed between recording a start and writing so.
    expect(account.unknown.filter((id) => !known.has(id)).length).toBeLessThanOrEqual(producers.length)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

interface Producer extends Omit<Exit, 'kept'> {
  name: string
  log: string
  spool?: string
  kept: Kept
}

/** Runs a producer to its end. */
async function run(bench: FaultBench, { name, way, signal, ends, log, spool }: Producer): Promise<void> {
  const args = [way, log, ...(spool === undefined ? [] : [spool])]
  const producer = spawnProcess(new URL('./exiting-producer.ts', import.meta.url), args, {
    REDIS_URL: bench.server.url,
  })
  if (signal !== undefined) {
    const isAtWork = (): boolean => existsSync(log) && statSync(log).size > 60_000
    await waitFor(isAtWork, { what: `${name}: it is at work` })
    void producer.kill(signal)
  }
  expect({ name, ends: await producer.exited }, producer.stderr()).toEqual({ name, ends })
}

/** A next start: it sends what the folder holds. */
async function sendSpool(bench: FaultBench, spool: string): Promise<void> {
  await using _tracer = new ExecutionTracer({ redis: bench.server.url, spool })
  const isEmpty = (): boolean => !existsSync(spool) || readdirSync(spool).length === 0
  await waitFor(isEmpty, { what: `${spool} is empty` })
}

interface Recorded {
  ms: number
  traceId: string
  /** `start`, the name of a step that was completed, or `end`. */
  what: string
}

function readLog(log: string): Recorded[] {
  const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => {
    const [ms, traceId = '', what = ''] = line.split(' ')
    return { ms: Number(ms), traceId, what }
  })
}

interface Stored {
  status: string
  errorMessage: string | null
  missingSteps: number
  /** What of it a producer would have recorded. */
  has: Set<string>
}

async function storedRuns(bench: FaultBench): Promise<Map<string, Stored>> {
  const rows = await bench.rows<{ id: string; steps: StepTuple[] } & Omit<Stored, 'has'>>(
    `select trace_id id, status, error_message "errorMessage", missing_steps "missingSteps", steps from execution_traces`,
  )
  return new Map(
    rows.map(({ id, steps, ...row }) => {
      const completed = steps.filter(([, , , durationMs]) => (durationMs ?? null) !== null)
      const has = new Set(['start', ...completed.map(([, name]) => name)])
      if (row.status === 'success') has.add('end')
      return [id, { ...row, has }]
    }),
  )
}

/** What is not stored of what should be, and how much else. */
function compare(recorded: readonly Recorded[], stored: ReadonlyMap<string, Stored>, kept: Kept) {
  const endMs = recorded.at(-1)?.ms ?? 0
  const times = recorded.map(({ ms }) => ms).filter((ms) => ms > endMs - 1_000)
  // A machine with too much to do lets a timer wait, that of the flush as well as those of the work.
  const longestGapMs = Math.max(...times.slice(1).map((ms, i) => ms - (times[i] as number)))
  const lastMs = kept === 'all' ? 0 : Math.ceil(FLUSH_INTERVAL_MS + longestGapMs + TIMER_MS)
  const absent = recorded.filter(({ traceId, what }) => stored.get(traceId)?.has.has(what) !== true)
  const missing = absent.filter(({ ms }) => kept === 'all' || ms < endMs - lastMs)
  return { missing, lost: absent.length - missing.length, lastMs }
}

/** Runs that look whole and are not, or that do not say where they ended. */
function oddRuns(recorded: readonly Recorded[], stored: ReadonlyMap<string, Stored>): Stored[] {
  const runs = [...new Set(recorded.map(({ traceId }) => traceId))].flatMap((id) => stored.get(id) ?? [])
  const diedSomewhere =
    /^No sign of life for 15 s(, in step 'step-\d'|, after step 'step-\d'|, before its first step)$/
  return runs.filter(({ status, errorMessage, missingSteps }) => {
    const saysWhere = status === 'timeout' && diedSomewhere.test(errorMessage ?? '')
    return missingSteps > 0 || !(status === 'success' || saysWhere)
  })
}
