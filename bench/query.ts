import { TraceQuery } from '@stepwell/query'
import { openDatabase, rebuildRollups } from '@stepwell/storage'
import pg from 'pg'
import { generateTraces } from './generated-traces.ts'
import { type BenchContext, type Benchmark, type Figure, percentile, round } from './harness.ts'
import { tableBytes } from './memory/postgres-bytes.ts'
import { planOf } from './query/plan.ts'
import { type Question, questions } from './query/questions.ts'
import { recordingClient, type Statement } from './recorded-statements.ts'

const TRACES = 1_000_000
const SCHEMA = 'generated'
const TIMES = 200
/** A question that takes long is asked less often. */
const MAX_MS = 10_000

/**
 * How long questions take over many traces, as a caller of the query package sees it: in turns, each time about something else. The
 * traces are built first; `--traces` says how many.
 */
export const query: Benchmark = async (context) => {
  const { databaseUrl, pool, scale, note } = context
  const traces = context.traces ?? Math.round(TRACES * scale)
  const seconds = await generateTraces(databaseUrl, { schema: SCHEMA, traces })
  const single = (name: string, value: number, unit: string): Figure => ({ name, value: round(value), unit })
  const rollups = await rollUp(context)
  const size = await tableBytes(pool, SCHEMA)
  const figures = [
    single('query.traces', traces, 'traces'),
    single('query.build', seconds, 's'),
    single('query.failures', await countFailures(context), 'traces'),
    single('query.table', size.total / traces, 'bytes/trace'),
    ...Object.entries({ heap: size.heap, toast: size.toast, ...size.indexes }).map(([part, bytes]) =>
      single(`query.table.${part.replace(/^.*\./, '')}`, bytes / traces, 'bytes/trace'),
    ),
  ]

  figures.push(
    single('query.rollups.build', rollups.seconds, 's'),
    single('query.rollups.table', rollups.bytes / traces, 'bytes/trace'),
  )

  const statements: Statement[] = []
  const own = new pg.Pool({
    connectionString: databaseUrl,
    max: 1,
    Client: recordingClient(statements),
  } as pg.PoolConfig)
  await using stored = new TraceQuery(own, { schema: SCHEMA })
  const asked = await questions(pool, stored, SCHEMA)
  const samples = await askInTurns(asked)
  for (const { name, ask } of asked) {
    const times = samples.get(name) as number[]
    for (const share of [0.5, 0.95, 0.99])
      figures.push(single(`query.${name}.p${share * 100}`, percentile(times, share), 'ms'))
    statements.length = 0
    await ask(TIMES)
    for (const statement of statements.filter(({ text }) => /^\s*(select|with|declare)\b/i.test(text)))
      note(`${name}: ${await planOf(pool, statement)}`)
  }
  await own.end()
  return figures
}

/** Statistics are read from these; workers make them as traces come. */
async function rollUp({ databaseUrl, pool }: BenchContext): Promise<{ seconds: number; bytes: number }> {
  const database = openDatabase(databaseUrl, SCHEMA)
  const startMs = performance.now()
  await rebuildRollups(database)
  const seconds = (performance.now() - startMs) / 1_000
  await database.close()
  await pool.query(`vacuum (analyze) ${SCHEMA}.execution_rollups, ${SCHEMA}.execution_rollup_overviews`)
  const { rows } = await pool.query<{ bytes: string }>(
    'select sum(pg_total_relation_size(t)) as bytes from unnest($1::regclass[]) as t',
    [[`${SCHEMA}.execution_rollups`, `${SCHEMA}.execution_rollup_overviews`]],
  )
  return { seconds, bytes: Number(rows[0]?.bytes) }
}

async function askInTurns(asked: readonly Question[]): Promise<Map<string, number[]>> {
  const samples = new Map(asked.map(({ name }) => [name, [] as number[]]))
  const spent = new Map<string, number>()
  // The first time finds nothing in memory, and plans.
  for (let i = 0; i <= TIMES; i++) {
    for (const { name, ask } of asked) {
      if ((spent.get(name) ?? 0) > MAX_MS) continue
      const startMs = performance.now()
      await ask(i)
      const ms = performance.now() - startMs
      spent.set(name, (spent.get(name) ?? 0) + ms)
      if (i > 0 || ms > MAX_MS) samples.get(name)?.push(ms)
    }
  }
  return samples
}

async function countFailures({ pool }: BenchContext): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(
    `select count(*) as n from ${SCHEMA}.execution_traces where status = 'failed'`,
  )
  return Number(rows[0]?.n)
}
