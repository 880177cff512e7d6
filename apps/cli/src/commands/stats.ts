import {
  type RunStatistics,
  type StatisticsWindow,
  type StatsOptions,
  skillStatsJson,
  stepStatsJson,
} from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { counted, durationText, rateText, shareText, timeText } from '../format.ts'
import { type Column, plain, tableLines } from '../terminal.ts'

/** Which time, and how it is shown. */
export interface StatsArguments {
  since?: Date
  until?: Date
  bucket?: NonNullable<StatsOptions['bucket']>
  limit: number
  json?: boolean
}

type Row = RunStatistics & { name: string; count: number }

const number = (value: number): string => (value === 0 ? '–' : value.toLocaleString('en-US'))

/** What came of runs or steps, and how long they took. */
function numberColumns<T extends RunStatistics>(): Column<T>[] {
  const duration = (title: string, of: (row: T) => number | undefined, optional = 0): Column<T> => ({
    title,
    text: (row) => durationText(of(row)),
    right: true,
    optional,
  })
  return [
    {
      title: 'FAILED',
      text: (row) => number(row.failedCount),
      right: true,
      style: (row) => (row.failedCount > 0 ? 'red' : undefined),
    },
    {
      title: 'TIMEOUT',
      text: (row) => number(row.timeoutCount),
      right: true,
      style: (row) => (row.timeoutCount > 0 ? 'yellow' : undefined),
      optional: 4,
    },
    { title: 'RUNNING', text: (row) => number(row.runningCount), right: true, optional: 6 },
    { title: 'FAIL %', text: (row) => shareText(row.failureRate), right: true },
    { title: 'RATE', text: (row) => rateText(row.perSecond), right: true, optional: 3 },
    duration('P50', (row) => row.p50DurationMs),
    duration('P90', (row) => row.p90DurationMs, 5),
    duration('P95', (row) => row.p95DurationMs),
    duration('P99', (row) => row.p99DurationMs, 2),
    duration('MAX', (row) => row.maxDurationMs, 7),
  ]
}

const runColumns = (first: Pick<Column<Row>, 'title' | 'flexible'>): Column<Row>[] => [
  { ...first, text: (row) => row.name },
  { title: 'RUNS', text: (row) => number(row.count), right: true },
  ...numberColumns<Row>(),
]

/** Statistics of all skills, or of one; with a bucket over time. */
export async function showStats(
  context: CommandContext,
  skill: string | undefined,
  { json, ...asked }: StatsArguments,
): Promise<void> {
  const stats = await context.connections
    .query()
    .skillStats(skill === undefined ? asked : { ...asked, skill })
  if (json) return writeJson(context, skillStatsJson(stats))
  noteRemoved(context, stats)
  if (stats.total.traceCount === 0) return context.terminal.note(noRunText(skill))
  const row = (name: string, { traceCount, ...numbers }: RunStatistics & { traceCount: number }): Row => ({
    name,
    count: traceCount,
    ...numbers,
  })
  const total = row('all', stats.total)
  const { buckets } = stats
  const rows =
    buckets === undefined
      ? stats.skills.map(({ skillName, ...numbers }) => row(skillName, numbers))
      : buckets.map(({ start, ...numbers }) => row(timeText(start).slice(0, 16), numbers))
  const isOne = buckets === undefined && rows.length === 1
  // A time that is cut tells nothing.
  const first = buckets === undefined ? { title: 'SKILL', flexible: 12 } : { title: 'FROM (UTC)' }
  await writeLines(context, tableLines(isOne ? rows : [...rows, total], runColumns(first), context.terminal))
  if (stats.truncated && buckets === undefined)
    context.terminal.note(`the ${counted(asked.limit, 'skill')} with the most runs; --limit shows more`)
}

const noRunText = (skill: string | undefined): string =>
  `${skill === undefined ? 'nothing has' : `'${plain(skill)}' has not`} run in this time: --since 30d looks further back`

/** Where retention removes successes before failures, what is left of a month has mostly failed. */
function noteRemoved({ terminal }: CommandContext, { removed = [] }: StatisticsWindow): void {
  if (removed.length === 0) return
  const count = removed.reduce((sum, { removedCount }) => sum + removedCount, 0)
  const months = removed.map(({ month }) => month.toISOString().slice(0, 7)).join(', ')
  terminal.note(
    `retention has removed ${counted(count, 'run')} of ${months}: counts and rates are of what is left`,
  )
}

/** Statistics of a skill's steps. */
export async function showSteps(
  context: CommandContext,
  skill: string,
  { json, ...asked }: StatsArguments,
): Promise<void> {
  const stats = await context.connections.query().stepStats({ ...asked, skill })
  if (json) return writeJson(context, stepStatsJson(stats))
  noteRemoved(context, stats)
  if (stats.steps.length === 0)
    return context.terminal.note(stats.total.traceCount === 0 ? noRunText(skill) : 'its runs have no steps')
  type Step = (typeof stats.steps)[number]
  const columns: Column<Step>[] = [
    { title: 'STEP', text: (step) => step.stepName, flexible: 12 },
    { title: 'COUNT', text: (step) => number(step.stepCount), right: true },
    { title: '% OF TIME', text: (step) => shareText(step.timeShare), right: true },
    { title: '% OF FAILURES', text: (step) => shareText(step.failureShare), right: true },
    ...numberColumns<Step>(),
  ]
  await writeLines(context, tableLines(stats.steps, columns, context.terminal))
  const { traceCount, failedCount, timeoutCount, p95DurationMs } = stats.total
  context.terminal.note(
    `of ${counted(traceCount, 'run')}, ${number(failedCount + timeoutCount)} of which failed or timed out, p95 ${durationText(p95DurationMs)}`,
  )
  if (stats.truncated) context.terminal.note('there are more names of steps; --limit shows more, up to 1,000')
}
