import { addMonths, type Month, monthBounds, monthOf } from '@stepwell/protocol'
import { migrateToLatest } from '@stepwell/storage'
import { startContender } from './contender.ts'
import type { MonthTask } from './generated-traces/month-builder.ts'
import type { Variety } from './generated-traces/state.ts'

/** What to build. */
export interface GeneratedOptions extends Partial<Variety> {
  traces: number
  /** Made if it is not there; its months that are built are replaced. */
  schema: string
  /** How many days back the oldest lies. Default: 90. */
  days?: number
}

const DAY_MS = 86_400_000
const BUILDERS = 2

/**
 * Realistic traces, straight into Postgres: durations with long tails, steps that fail in up to 3 % of runs, few skills and messages that
 * are common and many that are rare. Evenly over the days until now. The same for the same options and day. Gives the seconds it took.
 * No write of ours marks them: where statistics are asked for, rollups are to be rebuilt.
 */
export async function generateTraces(databaseUrl: string, options: GeneratedOptions): Promise<number> {
  const {
    traces,
    schema,
    days = 90,
    skills = 200,
    messages = Math.min(100_000, Math.ceil(traces / 10)),
  } = options
  await migrateToLatest({ connectionString: databaseUrl, schema })
  const startMs = performance.now()
  const nowMs = Date.now()
  const sinceMs = nowMs - days * DAY_MS
  const tasks = monthsBetween(sinceMs, nowMs).map((month): MonthTask => {
    const { fromMs, toMs } = monthBounds(month)
    const [from, to] = [Math.max(fromMs, sinceMs), Math.min(toMs, nowMs)]
    const share = (to - from) / (nowMs - sinceMs)
    return { schema, month, skills, messages, fromMs: from, toMs: to, traces: Math.round(traces * share) }
  })
  // The largest first, so that the last to finish is a small one.
  tasks.sort((a, b) => b.traces - a.traces)
  const file = new URL('./generated-traces/month-builder.ts', import.meta.url)
  const one = async (): Promise<void> => {
    await using builder = await startContender<MonthTask, { ms: number }>(file, [databaseUrl])
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await builder.run(task)
  }
  await Promise.all(Array.from({ length: BUILDERS }, one))
  return (performance.now() - startMs) / 1_000
}

function monthsBetween(fromMs: number, toMs: number): Month[] {
  const months: Month[] = []
  for (let month = monthOf(fromMs); monthBounds(month).fromMs <= toMs; month = addMonths(month, 1))
    months.push(month)
  return months
}
