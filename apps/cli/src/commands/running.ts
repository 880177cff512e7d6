import type { Step, Trace, TraceSummary } from '@stepwell/protocol'
import { present, stepJson, summaryJson } from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { durationText } from '../format.ts'
import { openTraces } from '../open-traces.ts'
import { type Column, tableLines } from '../terminal.ts'

interface RunningTrace {
  trace: TraceSummary
  /** The step that it is in: of the open ones the one that started last. */
  step: Step | undefined
}

const columns = (nowMs: number): Column<RunningTrace>[] => [
  { title: 'TRACE', text: ({ trace }) => trace.traceId },
  { title: 'SKILL', text: ({ trace }) => trace.skillName, flexible: 10 },
  {
    title: 'FOR',
    text: ({ trace }) => durationText(Math.max(0, nowMs - trace.startedAt.getTime())),
    right: true,
  },
  { title: 'IN STEP', text: ({ step }) => step?.name ?? '–', flexible: 10 },
  {
    title: 'STEP FOR',
    text: ({ step }) =>
      step?.timestamp === undefined ? '–' : durationText(Math.max(0, nowMs - step.timestamp.getTime())),
    right: true,
    optional: 2,
  },
  { title: 'STEPS', text: ({ trace }) => String(trace.stepCount), right: true, optional: 3 },
  { title: 'EXECUTION', text: ({ trace }) => trace.executionId ?? '', flexible: 12, optional: 1 },
]

/** What runs now, and in which step: as Redis knows it if REDIS_URL is set, and as Postgres does. Oldest first. */
export async function listRunning(
  context: CommandContext,
  { limit, json }: { limit: number; json?: boolean },
): Promise<void> {
  const query = context.connections.query()
  const running = new Map<string, RunningTrace>()
  const redis = await context.connections.redisIfSet()
  const open = redis === undefined ? [] : await openTraces(redis, context.env, limit)
  for (const trace of open) if (trace.status === 'running') running.set(trace.traceId, entryOf(trace))
  for await (const trace of query.findWholeTraces({ status: 'running' })) {
    if (running.size >= limit) break
    if (!running.has(trace.traceId)) running.set(trace.traceId, entryOf(trace))
  }
  const rows = [...running.values()].sort((a, b) => a.trace.startedAt.getTime() - b.trace.startedAt.getTime())
  if (json) {
    await writeJson(context, {
      running: rows.map(({ trace, step }) => ({
        ...summaryJson(trace),
        ...present({ current_step: step && stepJson(step) }),
      })),
    })
  } else if (rows.length === 0) context.terminal.note('nothing is running')
  else await writeLines(context, tableLines(rows, columns(Date.now()), context.terminal))
}

function entryOf(trace: Trace): RunningTrace {
  let step: Step | undefined
  for (const one of trace.steps) {
    const isLater = (one.timestamp?.getTime() ?? 0) >= (step?.timestamp?.getTime() ?? 0)
    if (one.status === 'running' && (step === undefined || isLater)) step = one
  }
  return { trace, step }
}
