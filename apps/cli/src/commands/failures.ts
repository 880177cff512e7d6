import type { JsonObject } from '@stepwell/protocol'
import {
  type FailureExample,
  type FailureGroup,
  type FailureGroupSummary,
  type FailureNote,
  present,
} from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { Failure } from '../errors.ts'
import { agoText, counted, timeText } from '../format.ts'
import { type Column, fit, plain, tableLines } from '../terminal.ts'

/** How the window of failures is chosen. */
export interface WindowOptions {
  skill?: string
  since?: Date
  until?: Date
  limit: number
  json?: boolean
}

const percent = (share: number): string =>
  share > 0 && share < 0.001 ? '<0.1 %' : `${(share * 100).toFixed(1)} %`

/** The groups of failures, the largest first. */
export async function listFailures(
  context: CommandContext,
  options: WindowOptions & { newSince?: Date; cursor?: string },
): Promise<void> {
  const { json, ...asked } = options
  const page = await context.connections.query().listFailureGroups(asked)
  if (json) {
    await writeJson(context, {
      failure_count: page.failureCount,
      groups: page.groups.map((group) => ({
        ...groupJson(group),
        last_seen: group.lastSeen.toISOString(),
        latest: exampleJson(group.latest),
      })),
      ...present({ next_cursor: page.nextCursor }),
    })
    return
  }
  const { terminal } = context
  if (page.groups.length === 0) {
    if (page.failureCount > 0)
      return terminal.note(`no such group among ${counted(page.failureCount, 'failure')}`)
    terminal.note(
      'no failures: --since 90d looks further back, `stepwell failures rebuild` at what is older than an upgrade',
    )
    return
  }
  await writeLines(context, tableLines(page.groups, columns(Date.now(), page.groups), terminal))
  terminal.note(
    `${counted(page.failureCount, 'failure')} in all; one group: stepwell failures show ${page.groups[0]?.groupId}`,
  )
  if (page.nextCursor !== undefined) terminal.note(`more: --cursor ${page.nextCursor}`)
}

const columns = (nowMs: number, groups: readonly FailureGroupSummary[]): Column<FailureGroupSummary>[] => [
  { title: 'GROUP', text: (group) => group.groupId },
  { title: 'COUNT', text: (group) => group.count.toLocaleString('en-US'), right: true },
  { title: 'SHARE', text: (group) => percent(group.share), right: true, optional: 2 },
  { title: 'LAST', text: (group) => agoText(group.lastSeen, nowMs) },
  { title: 'FIRST', text: (group) => agoText(group.firstSeen, nowMs), optional: 3 },
  { title: 'LATEST IN', text: ({ latest }) => placeOf(latest), flexible: 10, optional: 4 },
  { title: 'FAILURE', text: (group) => group.pattern, flexible: 30, style: () => 'red' },
  ...(groups.some(({ notes }) => notes.length > 0)
    ? [{ title: 'NOTE', text: noteText, flexible: 12, optional: 1 }]
    : []),
]

const placeOf = ({ skillName, failedStep }: FailureExample): string =>
  failedStep === undefined ? skillName : `${skillName} / ${failedStep}`

/** Notes on one line, the newest first. */
export const noteText = ({ notes }: { notes: readonly FailureNote[] }): string =>
  notes.map(({ note }) => note).join(' · ')

/** One group: where and when it failed, and what fixed it. */
export async function showFailure(
  context: CommandContext,
  id: string,
  { json, ...asked }: WindowOptions,
): Promise<void> {
  const group = await context.connections.query().getFailureGroup(id, asked)
  if (group === undefined) throw new Failure(`There is no failure group ${id}`)
  if (json) await writeJson(context, detailJson(group))
  else await writeLines(context, linesOf(group, context))
}

function linesOf(group: FailureGroup, { terminal }: CommandContext): string[] {
  const { paint, width } = terminal
  const nowMs = Date.now()
  const lines = [
    paint('red', plain(group.pattern)),
    `${counted(group.count, 'failure')}, ${percent(group.share)} of all, from ${minuteText(group.since)} to ${minuteText(group.until)} UTC`,
    `first seen ${agoText(group.firstSeen, nowMs)}${group.lastSeen === undefined ? '' : `, last ${agoText(group.lastSeen, nowMs)}`}`,
  ]
  for (const { note, updatedAt } of group.notes)
    lines.push(`${paint('green', 'note')} ${plain(note)} ${paint('dim', `(${agoText(updatedAt, nowMs)})`)}`)
  if (group.count > 0) lines.push('', trendLine(group), trendAxis(group))
  const most = (title: string, rows: { name: string; count: number }[], total: number): void => {
    if (rows.length === 0) return
    const cut = total > rows.length ? `, ${rows.length} of ${total}` : ''
    lines.push('', paint('dim', `${title}${cut}`))
    for (const { name, count } of rows)
      lines.push(`  ${count.toLocaleString('en-US').padStart(9)}  ${plain(name)}`)
  }
  most(
    'SKILLS',
    group.skills.map(({ skillName, count }) => ({ name: skillName, count })),
    group.skillCount,
  )
  most(
    'STEPS',
    group.steps.map(({ stepName, count }) => ({ name: stepName, count })),
    group.stepCount,
  )
  if (group.patternCount > 1) {
    lines.push('', paint('dim', `PATTERNS, ${group.patterns.length} of ${group.patternCount}`))
    for (const pattern of group.patterns) lines.push(`  ${fit(plain(pattern), width - 2).trimEnd()}`)
  }
  if (group.traces.length > 0) {
    const table: Column<FailureExample>[] = [
      { title: 'TRACE', text: (one) => one.traceId },
      { title: 'STARTED', text: (one) => agoText(one.startedAt, nowMs) },
      { title: 'IN', text: placeOf, flexible: 12, optional: 1 },
      { title: 'ERROR', text: (one) => one.errorMessage, flexible: 20, style: () => 'red' },
    ]
    lines.push('', ...tableLines(group.traces, table, terminal))
  }
  return lines
}

const minuteText = (time: Date): string => timeText(time).slice(0, 16)

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const LEVELS = ' ▁▂▃▄▅▆▇█'

function trendLine({ trend }: FailureGroup): string {
  const most = Math.max(1, ...trend.map(({ count }) => count))
  return trend.map(({ count }) => LEVELS[Math.ceil((count / most) * 8)] as string).join('')
}

/** What a column of it is, and the highest. */
function trendAxis({ trend }: FailureGroup): string {
  const longestMs = Math.max(...trend.map(({ start, end }) => end.getTime() - start.getTime()))
  const [length, unit] =
    longestMs >= DAY_MS
      ? [longestMs / DAY_MS, 'day']
      : longestMs >= HOUR_MS
        ? [longestMs / HOUR_MS, 'hour']
        : [longestMs / 60_000, 'minute']
  const most = Math.max(...trend.map(({ count }) => count))
  return `${counted(Math.round(length as number), unit as string)} each, at most ${most.toLocaleString('en-US')}`
}

function groupJson(group: Omit<FailureGroupSummary, 'latest' | 'lastSeen'>): JsonObject {
  return present({
    group_id: group.groupId,
    pattern: group.pattern,
    count: group.count,
    share: group.share,
    pattern_count: group.patternCount,
    first_seen: group.firstSeen,
    notes: notesJson(group.notes),
  })
}

/** Notes as JSON. */
export const notesJson = (notes: readonly FailureNote[]): JsonObject[] =>
  notes.map(({ note, updatedAt }) => ({ note, updated_at: updatedAt.toISOString() }))

const exampleJson = (one: FailureExample): JsonObject =>
  present({
    trace_id: one.traceId,
    skill_name: one.skillName,
    started_at: one.startedAt,
    error_message: one.errorMessage,
    failed_step: one.failedStep,
  })

const detailJson = (group: FailureGroup): JsonObject => ({
  ...groupJson(group),
  ...present({ since: group.since, until: group.until, last_seen: group.lastSeen }),
  patterns: group.patterns,
  skills: group.skills.map(({ skillName, count }) => ({ skill_name: skillName, count })),
  skill_count: group.skillCount,
  steps: group.steps.map(({ stepName, count }) => ({ step_name: stepName, count })),
  step_count: group.stepCount,
  traces: group.traces.map(exampleJson),
  trend: group.trend.map(({ start, end, count }) => ({
    start: start.toISOString(),
    end: end.toISOString(),
    count,
  })),
})
