// `npm run demo`: Redis, Postgres, a worker and producers as separate processes; then what a user would ask, by the command line.
// Ends by itself and leaves nothing running.
import { styleText } from 'node:util'
import { ExecutionTracer } from '@stepwell/client'
import type { TraceSummary } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import {
  leaseRedisDatabase,
  type SpawnedProcess,
  spawnProcess,
  startServices,
  waitFor,
} from '@stepwell/testkit'
import { makeOwnDatabase } from './own-database.ts'

/** Seconds of silence after which a producer counts as dead here; 60 usually. */
const SILENCE_S = 15
const KILLED = 3
const LATENCY_SAMPLES = 40

const stream = { stream: process.stdout }
const dim = (text: string): string => styleText('dim', text, stream)
const say = (text = ''): void => console.log(text)
const heading = (text: string): void => say(`\n${styleText('bold', text, stream)}`)

const beganMs = performance.now()
say(
  `${styleText('bold', 'Stepwell', stream)}: execution tracing on the Redis and the Postgres that you already run`,
)
const services = await startServices()
const started: SpawnedProcess[] = []
const stop = async (): Promise<void> => {
  await Promise.all(started.map((process) => process.kill()))
  await services.stop()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stop().then(() => process.exit(130))
  })
}
try {
  await demonstrate()
} finally {
  await stop()
}

async function demonstrate(): Promise<void> {
  say(dim(`Redis: ${services.redis.from} · Postgres: ${services.postgres.from}`))
  const [redisUrl, database] = await Promise.all([
    leaseRedisDatabase(services.redis.url),
    makeOwnDatabase(services.postgres.url, 'stepwell_demo'),
  ])
  const environment = { REDIS_URL: redisUrl, DATABASE_URL: database.url }
  const spawn = (file: string, args: string[], more: Record<string, string> = {}): SpawnedProcess => {
    const child = spawnProcess(new URL(file, import.meta.url), args, { ...environment, ...more })
    started.push(child)
    return child
  }
  /** Runs the command line as a user would, and shows what it says. */
  const stepwell = async (...args: string[]): Promise<void> => {
    say(dim(`$ stepwell ${args.map((arg) => (/\s/.test(arg) ? `"${arg}"` : arg)).join(' ')}`))
    const columns = String(Math.min(process.stdout.columns || 110, 130))
    const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}
    const child = spawn('../apps/cli/src/main.ts', args, { COLUMNS: columns, ...colour })
    const { code } = await child.exited
    if (code !== 0) throw new Error(`stepwell ${args[0]} ended with ${code}: ${child.stderr()}`)
    process.stdout.write(child.stdout().replace(/^/gm, '  ').trimEnd())
    say()
  }

  const worker = spawn('../apps/worker/src/main.ts', [], {
    STEPWELL_MIGRATE: 'off',
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_SILENCE_S: String(SILENCE_S),
    STEPWELL_CHECKPOINT_S: '1',
  })
  await waitFor(() => worker.stdout().includes('worker reads'), {
    what: 'the worker is up',
  })

  heading('Eight processes run skills that do real work')
  say(
    '  files, compression, child processes, HTTP, SQL; connections refused, answers cut off, tables that are not there',
  )
  const workMs = performance.now()
  const doomed = Array.from({ length: KILLED }, (_, i) =>
    spawn('./demo-producer.ts', ['doomed', String(i + 1)]),
  )
  await Promise.all(
    doomed.map(async (process) => {
      await waitFor(() => process.stdout() !== '', {
        what: 'it is in the middle of its work',
      })
      await process.kill('SIGKILL')
    }),
  )
  const producers = ['files', 'builds', 'calls', 'reports', 'release'].map((role) =>
    spawn('./demo-producer.ts', [role]),
  )
  const counters = await Promise.all(producers.map(finished))
  const emitted = counters.reduce((sum, each) => sum + each.emitted, 0)
  await using query = new TraceQuery(database.url)
  const traces = await waitFor(() => allStored(query, emitted), {
    what: 'everything is stored',
  })
  const events = traces.reduce((sum, trace) => sum + trace.stepCount + 2, 0)
  const failed = traces.filter((trace) => trace.status === 'failed').length
  say(
    `  ${traces.length} traces in ${((performance.now() - workMs) / 1_000).toFixed(1)} s, ${failed} of them failed; ${KILLED} more processes were killed in the middle (kill -9)`,
  )
  say(`  emitted ${emitted} events = stored ${events}, no step missing`)

  heading('What ran, how often, how long?')
  await stepwell('skills')

  heading('Where did the time go? One run, over three processes')
  await stepwell('trace', 'release-1')

  const [refused] = (await query.findTraces({ skill: 'call-service', status: 'failed' })).traces.filter(
    (trace) => trace.errorMessage?.includes('ECONNREFUSED'),
  )
  heading('A call failed. Have we seen this before?')
  await stepwell('similar', refused?.errorMessage ?? 'connect ECONNREFUSED', '--limit', '5')

  heading('How soon is a run visible?')
  const latency = await measureLatency(redisUrl, query)
  say(
    `  from its end to its row: ${latency.p50} ms (p50), ${latency.p95} ms (p95); the client sends every 50 ms`,
  )

  heading('What became of the processes that were killed?')
  const waitedMs = performance.now()
  const dead = await waitFor(
    async () => {
      const found = (await query.findTraces({ status: 'timeout' })).traces
      return found.length === KILLED ? found : undefined
    },
    { what: 'the silent runs are found', intervalMs: 200 },
  )
  say(
    `  found ${((performance.now() - waitedMs) / 1_000).toFixed(0)} s later, by their silence (after ${SILENCE_S} s here, 60 s usually)`,
  )
  await stepwell('traces', '--status', 'timeout')
  await stepwell('trace', dead[0]?.executionId as string)

  const { code } = await worker.kill('SIGTERM')
  await database.drop()
  if (code !== 0) throw new Error(`the worker ended with ${code}: ${worker.stderr()}`)
  heading(
    `Done in ${((performance.now() - beganMs) / 1_000).toFixed(0)} s: everything has stopped, nothing is left running.`,
  )
  say(`  ${dim('Go on with')} npm run dev${dim(': the same servers, yours to play with.')}`)
}

/** The traces of the producers that lived, if they are all there and whole. */
async function allStored(query: TraceQuery, emitted: number): Promise<TraceSummary[] | undefined> {
  const all: TraceSummary[] = []
  for await (const trace of query.findTraces({ limit: 1_000 }))
    if (trace.skillName !== 'train-model') all.push(trace)
  const events = all.reduce((sum, trace) => sum + trace.stepCount + 2, 0)
  return events === emitted && all.every((trace) => trace.status !== 'running' && trace.missingSteps === 0)
    ? all
    : undefined
}

/** Milliseconds from the end of a run in this process until a query sees it. */
async function measureLatency(redisUrl: string, query: TraceQuery): Promise<{ p50: string; p95: string }> {
  await using tracer = new ExecutionTracer({ redis: redisUrl, service: 'demo-latency' })
  const samples: number[] = []
  for (let i = 0; i < LATENCY_SAMPLES; i++) {
    const traceId = tracer.trace('ping', (t) => t.traceId)
    const endedMs = performance.now()
    await waitFor(() => query.getTrace(traceId), { what: 'the ping is stored', intervalMs: 1 })
    samples.push(performance.now() - endedMs)
  }
  samples.sort((a, b) => a - b)
  const at = (share: number): string => (samples[Math.ceil(samples.length * share) - 1] as number).toFixed(0)
  return { p50: at(0.5), p95: at(0.95) }
}

async function finished(producer: SpawnedProcess): Promise<{ emitted: number; sent: number }> {
  const { code } = await producer.exited
  if (code !== 0) throw new Error(`a producer failed: ${producer.stderr()}`)
  return JSON.parse(producer.stdout())
}
