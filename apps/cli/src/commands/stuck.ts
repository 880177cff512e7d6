import { present, type StuckTrace } from '@stepwell/query'
import { askRedis, type RedisAnswer } from '../ask-redis.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { counted, durationText } from '../format.ts'
import { openTrace } from '../open-traces.ts'
import { type Column, tableLines } from '../terminal.ts'
import { codeOf, EXECUTION_COLUMN, entryOf, runningJson, stepColumns } from './running.ts'

const columns = (nowMs: number): Column<StuckTrace>[] => [
  { title: 'TRACE', text: ({ trace }) => trace.traceId },
  { title: 'SKILL', text: ({ trace }) => trace.skillName, flexible: 10 },
  { title: 'FOR', text: ({ runningMs }) => durationText(runningMs), right: true, style: () => 'red' },
  {
    title: 'USUALLY UNDER',
    text: ({ limitMs, historyCount }) => `${durationText(limitMs)}${historyCount === 0 ? ' ?' : ''}`,
    right: true,
  },
  ...stepColumns(nowMs),
  EXECUTION_COLUMN,
]

/** Runs that take longer than those of their skill do, and the step that each hangs in: as Redis knows it if REDIS_URL is set and it is there. */
export async function listStuck(
  context: CommandContext,
  options: { skill?: string; quantile?: number; fallback?: number; limit: number; json?: boolean },
): Promise<number> {
  const { json, fallback, ...asked } = options
  const { stuck, truncated } = await context.connections
    .query()
    .findStuck({ ...asked, ...(fallback === undefined ? {} : { fallbackMs: fallback }) })
  const { answer: rows = stuck, away } = await asRedisKnows(context, stuck)
  if (json) {
    await writeJson(context, {
      stuck: rows.map(({ runningMs, limitMs, historyCount, ...running }) => ({
        ...runningJson(running),
        ...present({ running_ms: runningMs, limit_ms: limitMs, history_count: historyCount }),
      })),
      truncated,
      ...present({ redis_error: away }),
    })
    return codeOf(context, away)
  }
  if (rows.length === 0) context.terminal.note('nothing hangs')
  else await writeLines(context, tableLines(rows, columns(Date.now()), context.terminal))
  if (rows.some(({ historyCount }) => historyCount === 0))
    context.terminal.note('?: too few runs of that skill have ended to know how long they take')
  if (truncated)
    context.terminal.note(`only the ${counted(rows.length, 'one')} that hang longest: --limit shows more`)
  return codeOf(context, away)
}

/** The rows with the step that Redis knows of: Postgres gets it at the next checkpoint. */
function asRedisKnows(
  context: CommandContext,
  stuck: readonly StuckTrace[],
): Promise<RedisAnswer<readonly StuckTrace[]>> {
  return askRedis(context, (redis) =>
    Promise.all(
      stuck.map(async (row) => {
        const open = await openTrace(redis, context.env, row.trace.traceId)
        const step = open && entryOf(open).step
        return step === undefined ? row : { ...row, step }
      }),
    ),
  )
}
