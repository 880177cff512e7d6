// Records a run now and then and looks for it, as somebody would who waits for it: in Postgres, or in what `stepwell tail` prints.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ExecutionTracer } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { serve } from '../contender.ts'
import { recordShortRun } from '../ingest/load.ts'

/** Where to look, and for how long. */
export interface ProbeTask {
  where: 'postgres' | 'tail'
  durationMs: number
}

const SKILL = 'probe'
const PROBE_EVERY_MS = 10
const POLL_EVERY_MS = 2
/** What is later than this at the highest load has not kept up at all. */
const ARRIVAL_TIMEOUT_MS = 120_000

const [redis, databaseUrl, namespace] = process.argv.slice(2) as [string, string, string]
const tracer = new ExecutionTracer({ redis, namespace })
const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })

/** Runs that have not shown up yet: when each ended, by the clock of this process. */
const waiting = new Map<string, number>()
let latencies: number[] = []

serve(async ({ where, durationMs }: ProbeTask): Promise<number[]> => {
  await using _ = where === 'tail' ? await watchTail() : watchPostgres()
  latencies = []
  const startMs = performance.now()
  while (performance.now() - startMs < durationMs) {
    probe()
    await after(PROBE_EVERY_MS)
  }
  await waitFor(() => waiting.size === 0, { what: 'all probes show up', timeoutMs: ARRIVAL_TIMEOUT_MS })
  return latencies
})

function probe(): void {
  const traceId = recordShortRun(tracer, 0, { kind: 'short' }, SKILL)
  waiting.set(traceId, performance.now())
}

function arrived(traceId: string): void {
  const endedMs = waiting.get(traceId)
  if (endedMs !== undefined) latencies.push(performance.now() - endedMs)
  waiting.delete(traceId)
}

function watchPostgres(): AsyncDisposable {
  let isOver = false
  const polling = (async () => {
    const since = new Date(Date.now() - 60_000)
    while (!isOver) {
      const { rows } = await pool.query<{ trace_id: string }>(
        `select trace_id from execution_traces where trace_id = any($1::uuid[]) and started_at > $2`,
        [[...waiting.keys()], since],
      )
      for (const { trace_id } of rows) arrived(trace_id)
      await after(POLL_EVERY_MS)
    }
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      isOver = true
      await polling
    },
  }
}

/** Starts `stepwell tail`; resolves when it has printed a first run, so follows the stream. */
async function watchTail(): Promise<AsyncDisposable> {
  const cli = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url))
  const child = spawn(process.execPath, [cli, 'tail', '--json', '--skill', SKILL], {
    env: { ...process.env, REDIS_URL: redis, DATABASE_URL: databaseUrl, STEPWELL_NAMESPACE: namespace },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let isFollowing = false
  createInterface(child.stdout).on('line', (line) => {
    const event = JSON.parse(line) as { event: string; trace_id: string }
    isFollowing = true
    if (event.event === 'end') arrived(event.trace_id)
  })
  while (!isFollowing) {
    probe()
    await after(PROBE_EVERY_MS)
  }
  // Those recorded before it followed never show up.
  waiting.clear()
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill()
    },
  }
}
