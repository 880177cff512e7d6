import type { TraceSummary } from '@stepwell/protocol'
import { present, summaryJson } from '@stepwell/query'
import { type FilterOptions, filtersOf } from '../arguments.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { agoText, durationText, statusStyle } from '../format.ts'
import { type Column, tableLines } from '../terminal.ts'

/** Columns of a table of traces. */
export const traceColumns = (nowMs: number): Column<TraceSummary>[] => [
  { title: 'TRACE', text: (trace) => trace.traceId },
  { title: 'STATUS', text: (trace) => trace.status, style: (trace) => statusStyle(trace.status) },
  { title: 'STARTED', text: (trace) => agoText(trace.startedAt, nowMs) },
  { title: 'TOOK', text: (trace) => durationText(trace.totalDurationMs), right: true },
  { title: 'STEPS', text: (trace) => String(trace.stepCount), right: true, optional: 3 },
  { title: 'SKILL', text: (trace) => trace.skillName, flexible: 10 },
  { title: 'EXECUTION', text: (trace) => trace.executionId ?? '', flexible: 12, optional: 2 },
  {
    title: 'ERROR',
    text: (trace) => trace.errorMessage ?? '',
    style: () => 'red',
    flexible: 20,
    optional: 1,
  },
]

/** Lists traces, newest first. */
export async function listTraces(
  context: CommandContext,
  options: FilterOptions & { limit: number; cursor?: string; json?: boolean },
): Promise<void> {
  const { limit, cursor, json } = options
  const page = await context.connections
    .query()
    .findTraces({ ...filtersOf(options), limit, ...(cursor === undefined ? {} : { cursor }) })
  if (json) {
    await writeJson(context, {
      traces: page.traces.map(summaryJson),
      ...present({ next_cursor: page.nextCursor, previous_cursor: page.previousCursor }),
    })
    return
  }
  if (page.traces.length === 0) context.terminal.note('no traces match')
  else await writeLines(context, tableLines(page.traces, traceColumns(Date.now()), context.terminal))
  if (page.nextCursor !== undefined) context.terminal.note(`older: --cursor ${page.nextCursor}`)
  if (page.previousCursor !== undefined) context.terminal.note(`newer: --cursor ${page.previousCursor}`)
}
