import { setTimeout as after } from 'node:timers/promises'
import { addMonths, type Month, monthBounds, monthOf, newTraceId, partitionName } from '@stepwell/protocol'
import {
  applyRetention,
  type Database,
  migrateToLatest,
  openDatabase,
  parseRetentionRules,
  TraceWriter,
} from '@stepwell/storage'
import { startContender } from './contender.ts'
import { postgresCpuMs } from './cpu-time.ts'
import type { MonthTask } from './generated-traces/month-builder.ts'
import { type BenchContext, type Benchmark, type Figure, percentile, round, scaled } from './harness.ts'

const TRACES = 1_000_000
const WRITE_TRACES = 50
const WRITE_EVERY_MS = 20
const BASELINE_MS = 5_000

/** What one way of removing came to. */
interface Removal {
  seconds: number
  cpuSeconds: number
  walMib: number
  mibAfter: number
  writes: number[]
}

/**
 * A closed month from which the successes go: rewritten by retention, and by the DELETE and VACUUM that it is there to avoid, on the
 * same rows, while a writer goes on writing to the current month.
 */
export const retention: Benchmark = async (context) => {
  const traces = scaled(context.traces ?? TRACES, context.scale, 1_000)
  const month = addMonths(monthOf(Date.now()), -2)
  await buildMonths(context, month, ['rewritten', 'deleted'], traces)
  const alone = await watched(context, 'rewritten', () => after(BASELINE_MS))
  let lockedMs = Number.NaN
  let removed = 0
  const rewritten = await watched(context, 'rewritten', async (database) => {
    const policy = { rules: parseRetentionRules('success=7d'), keepMonths: 0 }
    const [applied] = (await applyRetention(database, policy, { nowMs: Date.now() })) ?? []
    lockedMs = applied?.lockedMs ?? Number.NaN
    removed = applied?.removed ?? 0
  })
  const deleted = await watched(context, 'deleted', async ({ pool }) => {
    const partition = `deleted.${partitionName(month)}`
    await pool.query(`delete from ${partition} where status = 'success'`)
    await pool.query(`vacuum (analyze) ${partition}`)
  })
  context.note(`of ${traces} traces ${removed} were removed`)
  return [
    { name: 'retention.locked', value: round(lockedMs), unit: 'ms' },
    ...figuresOf('rewritten', rewritten),
    ...figuresOf('deleted', deleted),
    ...writesOf('alone', alone),
    {
      name: 'retention.seconds_to_deleted',
      value: round(rewritten.seconds / deleted.seconds),
      unit: 'ratio',
    },
    {
      name: 'retention.cpu_to_deleted',
      value: round(rewritten.cpuSeconds / deleted.cpuSeconds),
      unit: 'ratio',
    },
    { name: 'retention.wal_to_deleted', value: round(rewritten.walMib / deleted.walMib), unit: 'ratio' },
  ]

  /** Does it while a writer writes; what it came to. */
  async function watched(
    { databaseUrl, pool }: BenchContext,
    schema: string,
    work: (database: Database) => Promise<unknown>,
  ): Promise<Removal> {
    const database = openDatabase({ connectionString: databaseUrl, max: 4 }, schema)
    await pool.query('checkpoint')
    const writer = startWriter(database)
    const [cpuMs, lsn, startMs] = [await postgresCpuMs(pool), await walAt(pool), performance.now()]
    await work(database)
    const seconds = (performance.now() - startMs) / 1_000
    const writes = await writer.stop()
    const wal = await pool.query<{ bytes: string }>('select pg_current_wal_lsn() - $1::pg_lsn as bytes', [
      lsn,
    ])
    const size = await pool.query<{ bytes: string }>('select pg_total_relation_size($1) as bytes', [
      `${schema}.${partitionName(month)}`,
    ])
    const removal = {
      seconds,
      cpuSeconds: ((await postgresCpuMs(pool)) - cpuMs) / 1_000,
      walMib: Number(wal.rows[0]?.bytes) / 2 ** 20,
      mibAfter: Number(size.rows[0]?.bytes) / 2 ** 20,
      writes,
    }
    await database.close()
    return removal
  }
}

const walAt = async (pool: BenchContext['pool']): Promise<string> =>
  (await pool.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn')).rows[0]?.lsn as string

function figuresOf(name: string, { seconds, cpuSeconds, walMib, mibAfter, writes }: Removal): Figure[] {
  return [
    { name: `retention.${name}.seconds`, value: round(seconds), unit: 's' },
    { name: `retention.${name}.cpu`, value: round(cpuSeconds), unit: 's' },
    { name: `retention.${name}.wal`, value: round(walMib), unit: 'MiB' },
    { name: `retention.${name}.size_after`, value: round(mibAfter), unit: 'MiB' },
    ...writesOf(name, writes),
  ]
}

const writesOf = (name: string, writes: readonly number[] | Removal): Figure[] => {
  const ms = 'writes' in writes ? writes.writes : writes
  return [
    { name: `retention.${name}.writes.p50`, value: round(percentile(ms, 0.5)), unit: 'ms' },
    { name: `retention.${name}.writes.p99`, value: round(percentile(ms, 0.99)), unit: 'ms' },
    { name: `retention.${name}.writes.max`, value: round(Math.max(...ms)), unit: 'ms' },
  ]
}

/** The same rows in each schema. */
async function buildMonths(
  { databaseUrl }: BenchContext,
  month: Month,
  schemas: readonly string[],
  traces: number,
): Promise<void> {
  const { fromMs, toMs } = monthBounds(month)
  const file = new URL('./generated-traces/month-builder.ts', import.meta.url)
  await using builder = await startContender<MonthTask, { ms: number }>(file, [databaseUrl])
  for (const schema of schemas) {
    await migrateToLatest({ connectionString: databaseUrl, schema })
    await builder.run({ schema, month, fromMs, toMs, traces, skills: 200, messages: Math.ceil(traces / 10) })
  }
}

/** Writes to the current month until it is stopped; then gives how long each write took, in milliseconds. */
function startWriter(database: Database): { stop(): Promise<number[]> } {
  const writer = new TraceWriter(database)
  const took: number[] = []
  let stopped = false
  const writing = (async () => {
    while (!stopped) {
      const startedAtMs = Date.now()
      const traces = Array.from({ length: WRITE_TRACES }, () => {
        const traceId = newTraceId(startedAtMs)
        const delta = {
          t: traceId,
          b: 1 as const,
          k: 'written meanwhile',
          n: [0, 0] as [number, number],
          e: ['s', 5, 5] as never,
        }
        return { traceId, startedAtMs, said: [{ producer: '', delta }], known: false }
      })
      const startMs = performance.now()
      await writer.write(traces)
      took.push(performance.now() - startMs)
      await after(WRITE_EVERY_MS)
    }
    return took
  })()
  return {
    stop() {
      stopped = true
      return writing
    },
  }
}
