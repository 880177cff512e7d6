import { GROUP, shardKeys } from '@stepwell/protocol'
import { type SpawnedProcess, spawnProcess, waitFor } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import type { BenchContext, Result } from './harness.ts'
import { round } from './harness.ts'

const EVENTS_PER_TRACE = 12
const PRODUCERS = 2

/**
 * From the first event recorded to the last row committed: two producer processes, Redis, one worker process and Postgres
 * share the machine. A run of 10 steps is 12 events.
 */
export async function ingest(context: BenchContext): Promise<Result[]> {
  const results: Result[] = []
  for (const [kind, traces] of [
    ['short', 60_000],
    ['long', 10_000],
  ] as const) {
    results.push(...(await measure(context, kind, Math.ceil((traces * context.scale) / PRODUCERS))))
  }
  return results
}

async function measure(
  { redisUrl, databaseUrl, pool }: BenchContext,
  kind: 'short' | 'long',
  traces: number,
): Promise<Result[]> {
  const redis = new Redis(redisUrl)
  await redis.flushdb()
  await pool.query('truncate execution_traces')
  await pool.query('checkpoint')
  await using worker = spawnProcess(new URL('../apps/worker/src/main.ts', import.meta.url), [], {
    REDIS_URL: redisUrl,
    DATABASE_URL: databaseUrl,
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_LOG_LEVEL: 'error',
  })
  const stream = shardKeys('stepwell', 0)
  await waitFor(() => redis.exists(stream.events), { what: 'the worker reads' })

  const producers = Array.from({ length: PRODUCERS }, () =>
    spawnProcess(new URL('./ingest-producer.ts', import.meta.url), [redisUrl, String(traces), kind]),
  )
  const reports = await Promise.all(producers.map(report))
  await waitFor(() => isDrained(redis), { what: 'everything is stored', timeoutMs: 300_000, intervalMs: 50 })
  const endedAtMs = Date.now()

  const total = traces * PRODUCERS
  const { rows } = await pool.query(
    `select count(*)::int as n, pg_total_relation_size(max(tableoid::regclass))::float as bytes
       from execution_traces where status = 'success' and step_count = 10 and missing_steps = 0`,
  )
  if (rows[0].n !== total)
    throw new Error(`${rows[0].n} of ${total} traces are stored whole\n${worker.stderr()}`)
  redis.disconnect()
  const seconds = (endedAtMs - Math.min(...reports.map((r) => r.startedAtMs))) / 1000
  const name = `ingest.${kind}_runs`
  return [
    {
      name,
      metric: 'events_per_second',
      value: round((total * EVENTS_PER_TRACE) / seconds),
      unit: 'events/s',
    },
    { name, metric: 'traces_per_second', value: round(total / seconds), unit: 'traces/s' },
    { name, metric: 'bytes_per_trace', value: round(rows[0].bytes / total), unit: 'bytes' },
  ]
}

async function report(producer: SpawnedProcess): Promise<{ startedAtMs: number }> {
  const { code } = await producer.exited
  if (code !== 0) throw new Error(`a producer failed: ${producer.stderr()}`)
  const counters = JSON.parse(producer.stdout())
  if (counters.sent !== counters.emitted) throw new Error(`a producer lost events: ${producer.stdout()}`)
  return counters
}

async function isDrained(redis: Redis): Promise<boolean> {
  const { events, due } = shardKeys('stepwell', 0)
  // In this order: what is delivered can still be pending, what is acked can still be open.
  const [last] = (await redis.xrevrange(events, '+', '-', 'COUNT', 1)) as [string, string[]][]
  const [group] = (await redis.xinfo('GROUPS', events)) as unknown[][]
  if (last !== undefined && group?.[group.indexOf('last-delivered-id') + 1] !== last[0]) return false
  const [pending] = (await redis.xpending(events, GROUP)) as [number]
  return Number(pending) === 0 && (await redis.exists(due)) === 0
}
