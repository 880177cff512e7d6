import type { JsonObject, Step, Trace } from '@stepwell/protocol'
import { present, type RunningTrace, stepJson, summaryJson, type TraceQuery } from '@stepwell/query'
import { askRedis } from '../ask-redis.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { EXIT_DONE, EXIT_PARTLY } from '../errors.ts'
import { counted, durationText } from '../format.ts'
import { openTraces } from '../open-traces.ts'
import { type Column, tableLines } from '../terminal.ts'

const IDS_A_QUERY = 1_000

/** The step that a run is in, and for how long. */
export const stepColumns = (nowMs: number): Column<RunningTrace>[] => [
  { title: 'IN STEP', text: ({ step }) => step?.name ?? '–', flexible: 10 },
  {
    title: 'STEP FOR',
    text: ({ step }) =>
      step?.timestamp === undefined ? '–' : durationText(Math.max(0, nowMs - step.timestamp.getTime())),
    right: true,
    optional: 2,
  },
]

export const EXECUTION_COLUMN: Column<RunningTrace> = {
  title: 'EXECUTION',
  text: ({ trace }) => trace.executionId ?? '',
  flexible: 12,
  optional: 1,
}

const columns = (nowMs: number): Column<RunningTrace>[] => [
  { title: 'TRACE', text: ({ trace }) => trace.traceId },
  { title: 'SKILL', text: ({ trace }) => trace.skillName, flexible: 10 },
  {
    title: 'FOR',
    text: ({ trace }) => durationText(Math.max(0, nowMs - trace.startedAt.getTime())),
    right: true,
  },
  ...stepColumns(nowMs),
  { title: 'STEPS', text: ({ trace }) => String(trace.stepCount), right: true, optional: 3 },
  EXECUTION_COLUMN,
]

/**
 * What runs now, and in which step: as Redis knows it if REDIS_URL is set, and as Postgres does. Oldest first. Where Redis is away, as
 * Postgres alone knows it, and that is said.
 */
export async function listRunning(
  context: CommandContext,
  { limit, json }: { limit: number; json?: boolean },
): Promise<number> {
  const query = context.connections.query()
  const { answer: running = new Map<string, RunningTrace>(), away } = await askRedis(
    context,
    async (redis) => {
      const open = new Map<string, RunningTrace>()
      for await (const trace of openTraces(redis, context.env, limit + 1))
        if (trace.status === 'running') open.set(trace.traceId, entryOf(trace))
      return open
    },
  )
  await countStored(query, running)
  const stored = await query.listRunning({ limit })
  for (const one of stored.running) if (!running.has(one.trace.traceId)) running.set(one.trace.traceId, one)
  const all = [...running.values()].sort((a, b) => a.trace.startedAt.getTime() - b.trace.startedAt.getTime())
  const rows = all.slice(0, limit)
  const truncated = stored.truncated || all.length > limit
  if (json) {
    await writeJson(context, { running: rows.map(runningJson), truncated, ...present({ redis_error: away }) })
    return codeOf(context, away)
  }
  if (rows.length === 0) context.terminal.note('nothing is running')
  else await writeLines(context, tableLines(rows, columns(Date.now()), context.terminal))
  if (truncated) context.terminal.note(`only the ${counted(rows.length, 'oldest one')}: --limit shows more`)
  return codeOf(context, away)
}

/** Says on stderr what is missing where Redis is away; the exit code. */
export function codeOf({ terminal }: CommandContext, away: string | undefined): number {
  if (away === undefined) return EXIT_DONE
  terminal.note(away)
  terminal.note('only what Postgres knows is shown: what began since the last checkpoints is not in it')
  return EXIT_PARTLY
}

/** A running trace in JSON, with the step that it is in. */
export function runningJson({ trace, step }: RunningTrace): JsonObject {
  return { ...summaryJson(trace), ...present({ current_step: step && stepJson(step) }) }
}

/** Counts the steps that Redis knows of and does not hold any more: they are stored. */
async function countStored(query: TraceQuery, running: Map<string, RunningTrace>): Promise<void> {
  const ids = [...running.values()]
    .filter((row) => row.trace.missingSteps > 0)
    .map((row) => row.trace.traceId)
  for (let i = 0; i < ids.length; i += IDS_A_QUERY) {
    for (const [id, stored] of await query.getSummaries(ids.slice(i, i + IDS_A_QUERY))) {
      const row = running.get(id) as RunningTrace
      const recorded = row.trace.stepCount + row.trace.missingSteps
      const stepCount = Math.max(row.trace.stepCount, stored.stepCount)
      const missingSteps = Math.max(0, recorded - stepCount)
      running.set(id, { ...row, trace: { ...row.trace, stepCount, missingSteps } })
    }
  }
}

/** A running trace of which all steps are known. */
export function entryOf({ steps, ...trace }: Trace): RunningTrace {
  let step: Step | undefined
  for (const one of steps) {
    const isLater = (one.timestamp?.getTime() ?? 0) >= (step?.timestamp?.getTime() ?? 0)
    if (one.status === 'running' && (step === undefined || isLater)) step = one
  }
  return step === undefined ? { trace } : { trace, step }
}
