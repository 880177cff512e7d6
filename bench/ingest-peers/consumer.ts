// A consumer of a peer: `consumer.ts <way> <redis> <postgres>`. It gathers events in memory and writes each run with one INSERT into
// the same table, on as many connections as a worker has. Of what Stepwell promises it promises nothing.
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'
import { serve } from '../contender.ts'
import { EVENTS } from '../ingest/load.ts'
import { BULL_PREFIX, GROUP, type PeerEvent, QUEUE, STREAM, type Way } from './way.ts'

const CONNECTIONS = 6
const JOBS_AT_ONCE = 50
const READ_COUNT = 1_000

const [way, redisUrl, databaseUrl] = process.argv.slice(2) as [Way, string, string]
const redis = new Redis(redisUrl, { maxRetriesPerRequest: null })
const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS })
const gathered = new Map<string, PeerEvent[]>()
let stored = 0
let wanted = { traces: Number.POSITIVE_INFINITY, reached: (): void => {} }

if (way === 'xadd_per_event') {
  await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM').catch(() => {})
  void readStream()
} else {
  const work = way === 'bullmq_per_trace' ? (data: { events: PeerEvent[] }) => insert(data.events) : gather
  const worker = new Worker(QUEUE, (job) => work(job.data), {
    connection: redis,
    prefix: BULL_PREFIX,
    concurrency: JOBS_AT_ONCE,
  })
  await worker.waitUntilReady()
}

/** Resolves when so many more traces are stored. */
serve(async ({ traces }: { traces: number }): Promise<{ cpuMs: number; endedAtMs: number }> => {
  const before = process.cpuUsage()
  await new Promise<void>((reached) => {
    wanted = { traces, reached }
  })
  stored = 0
  const { user, system } = process.cpuUsage(before)
  return { cpuMs: (user + system) / 1_000, endedAtMs: Date.now() }
})

async function readStream(): Promise<never> {
  const reader = redis.duplicate()
  for (;;) {
    const args = ['GROUP', GROUP, 'one', 'COUNT', READ_COUNT, 'BLOCK', 1_000, 'STREAMS', STREAM, '>'] as const
    const reply = (await reader.xreadgroup(...args)) as [string, [string, string[]][]][] | null
    const entries = reply?.[0]?.[1] ?? []
    await Promise.all(entries.map(([, [, event]]) => gather(JSON.parse(event as string))))
    if (entries.length > 0) await redis.xack(STREAM, GROUP, ...entries.map(([id]) => id))
  }
}

async function gather(event: PeerEvent): Promise<void> {
  const events = gathered.get(event.traceId)
  if (events === undefined) gathered.set(event.traceId, [event])
  else if (events.push(event) === EVENTS) {
    gathered.delete(event.traceId)
    await insert(events)
  }
}

async function insert(events: PeerEvent[]): Promise<void> {
  const start = events.find((event) => event.event === 'start')
  const end = events.find((event) => event.event === 'end')
  if (start?.event !== 'start' || end?.event !== 'end') throw new Error('a run without its start or end')
  const steps = events.flatMap((event) =>
    event.event === 'step' ? [[event.id, event.name, event.at - start.at, event.durationMs]] : [],
  )
  await pool.query(
    `insert into execution_traces (trace_id, started_at, completed_at, total_duration_ms, step_count, skill_name, status, execution_id, steps, metadata)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      start.traceId,
      new Date(start.at),
      new Date(end.at),
      end.durationMs,
      steps.length,
      start.skillName,
      end.status,
      start.executionId,
      JSON.stringify(steps),
      JSON.stringify(start.metadata),
    ],
  )
  stored += 1
  if (stored === wanted.traces) wanted.reached()
}
