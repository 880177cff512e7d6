import { TraceQuery } from '@stepwell/query'
import type pg from 'pg'
import { seededRandom } from '../tests/faults/seeded-random.ts'
import { type Benchmark, type Figure, percentile, round, scaled } from './harness.ts'
import type { Question } from './query/questions.ts'
import { buildFailures } from './similar/build-failures.ts'
import { groupQuestions, similarQuestions } from './similar/questions.ts'

const FAILURES = 1_000_000
const MESSAGES = 100_000
const DAYS = 90
const TIMES = 300
/** Of groups, which are asked for less often and take longer. */
const GROUP_TIMES = 20
const WARM_UP = 5

/** How long it takes to find similar failures among a million of a hundred thousand messages, on a server without extensions and with `intarray`. */
export const similar: Benchmark = async ({ databaseUrl, pool, scale }) => {
  const failures = scaled(FAILURES, scale, 1_000)
  const startMs = performance.now()
  const messages = await buildFailures(databaseUrl, Date.now(), {
    failures,
    messages: scaled(MESSAGES, scale, 100),
    days: DAYS,
  })
  const seconds = (performance.now() - startMs) / 1_000
  const figures: Figure[] = [
    { name: 'similar.failures', value: failures, unit: 'traces' },
    { name: 'similar.messages', value: messages.length, unit: 'messages' },
    { name: 'similar.build', value: round(seconds), unit: 's' },
    ...(await sizes(pool, failures)),
  ]
  const ask = async (
    name: string,
    questions: (query: TraceQuery) => Question[],
    times: number,
  ): Promise<void> => {
    figures.push(...(await askAll(databaseUrl, name, questions, times)))
  }
  const about = (query: TraceQuery): Question[] => similarQuestions(query, messages, seededRandom(7))
  await ask('similar.plain', about, TIMES)
  await pool.query('create extension intarray')
  await ask('similar.intarray', about, TIMES)
  await ask('similar.groups', groupQuestions, GROUP_TIMES)
  return figures
}

async function sizes(pool: pg.Pool, failures: number): Promise<Figure[]> {
  const { rows } = await pool.query<{ name: string; bytes: string }>(
    `select relname as name, pg_total_relation_size(oid) as bytes from pg_class where relname in ('failure_signatures', 'failure_patterns')
     union all
     select p.relname, sum(pg_relation_size(i.inhrelid)) from pg_class p join pg_inherits i on i.inhparent = p.oid
      where p.relkind = 'I' and p.relname ~ 'failure|signature|pattern|failed' group by p.relname order by 1`,
  )
  return rows.map(({ name, bytes }) => ({
    name: `similar.${name}`,
    value: round(Number(bytes) / failures),
    unit: 'bytes/failure',
  }))
}

async function askAll(
  databaseUrl: string,
  name: string,
  questions: (query: TraceQuery) => Question[],
  times: number,
): Promise<Figure[]> {
  await using query = new TraceQuery(databaseUrl, { maxConnections: 1 })
  const asked = questions(query)
  const samples = new Map(asked.map((question) => [question.name, [] as number[]]))
  // The first times find nothing in memory.
  for (let i = -WARM_UP; i < times; i++) {
    for (const question of asked) {
      const startMs = performance.now()
      await question.ask(i + WARM_UP)
      if (i >= 0) samples.get(question.name)?.push(performance.now() - startMs)
    }
  }
  const all = [...samples.values()].flat()
  return [...samples, ['all', all] as const].flatMap(([question, times]) =>
    [0.5, 0.95, 0.99].map((share) => ({
      name: `${name}.${question}.p${share * 100}`,
      value: round(percentile(times, share)),
      unit: 'ms',
    })),
  )
}
