import { type JsonObject, type Month, monthBounds, partitionName } from '@stepwell/protocol'
import { present } from '@stepwell/query'
import {
  type AppliedMonth,
  applyRetention,
  classText,
  OldSnapshotError,
  type PlannedClass,
  type PlannedMonth,
  parseRetentionRules,
  planRetention,
  REWRITE_MIN_SHARE,
  type RetentionPolicy,
} from '@stepwell/storage'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { Failure, UsageError } from '../errors.ts'
import { counted, durationText, sizeText } from '../format.ts'
import { RemovalExport } from '../removal-export.ts'
import { type Column, tableLines } from '../terminal.ts'

/** Options that `plan` and `apply` share. */
export interface RetentionOptions {
  keep?: string[]
  months?: number
  month?: string[]
  minShare?: number
  json?: boolean
}

/** Shows what retention would do to each month. */
export async function showPlan(context: CommandContext, options: RetentionOptions): Promise<void> {
  const policy = policyOf(context, options)
  const { minShare = REWRITE_MIN_SHARE } = options
  const planned = await planRetention(context.connections.reading(), policy, {
    nowMs: Date.now(),
    months: monthsOf(options),
    minShare,
  })
  if (options.json) return writeJson(context, planJson(policy, planned))
  const { terminal } = context
  if (planned.length === 0) return terminal.note('there are no months yet: stepwell migrate makes them')
  await writeLines(context, [
    ...tableLines(planned.flatMap(linesOf), columns(minShare), terminal),
    '',
    summaryOf(planned),
  ])
}

/** Removes what is past its time, and exports it before if a folder is given. */
export async function applyPlan(
  context: CommandContext,
  options: RetentionOptions & { export?: string },
): Promise<void> {
  const policy = policyOf(context, options)
  const { terminal, stop } = context
  const removal =
    options.export === undefined ? undefined : await RemovalExport.into(options.export, context.env.INIT_CWD)
  const applied: (AppliedMonth & { file?: string | undefined })[] = []
  const result = await applyRetention(context.connections.database(), policy, {
    nowMs: Date.now(),
    again: true,
    months: monthsOf(options),
    minShare: options.minShare,
    stop,
    onRemove:
      removal &&
      (async (month, traces) => {
        await removal.write(month, traces)
        terminal.progress(`${monthText(month)}  exported ${counted(removal.traces, 'trace')}`)
      }),
    onStage: async (month, stage) => {
      // What is exported must be on disk before anything of it is removed.
      if (stage !== 'copy') await removal?.finish()
      terminal.progress(`${monthText(month)}  ${stage}`)
    },
    onMonth: async (one) => {
      const done = { ...one, file: removal?.fileOf(one.month) }
      applied.push(done)
      if (!options.json) await writeLines(context, [appliedLine(done)])
    },
  })
    .catch((error: unknown) => {
      const as = stop.aborted ? 'stopped' : error instanceof OldSnapshotError ? error.message : undefined
      if (as === undefined) throw error
      throw new Failure(`${as}. The month in work is as it was: call it again to go on`)
    })
    .finally(async () => {
      terminal.progress(undefined)
      await removal?.abandon()
    })
  if (result === undefined)
    throw new Failure(
      'Somebody else applies retention just now, a worker or another command: try again later',
    )
  if (options.json) return writeJson(context, { months: applied.map(appliedJson) })
  if (applied.length === 0)
    terminal.note('nothing is past its time, or too little of any month: stepwell retention plan')
}

function policyOf({ env }: CommandContext, { keep, months }: RetentionOptions): RetentionPolicy {
  const policy = {
    rules: parseRetentionRules(keep === undefined ? env.STEPWELL_RETENTION_CLASSES : keep.join(',')),
    keepMonths: months ?? env.STEPWELL_RETENTION_MONTHS,
  }
  if (policy.rules.length > 0 || policy.keepMonths > 0) return policy
  throw new UsageError(
    'say what is kept for how long: --keep success=7d --keep failed=90d, --months 6, or set STEPWELL_RETENTION_CLASSES or STEPWELL_RETENTION_MONTHS',
  )
}

const monthsOf = ({ month }: RetentionOptions): Month[] | undefined =>
  month?.map((text) => ({ year: Number(text.slice(0, 4)), month: Number(text.slice(5)) }))

const monthText = (month: Month): string => new Date(monthBounds(month).fromMs).toISOString().slice(0, 7)

type PlanLine = { planned: PlannedMonth; first: boolean; one?: PlannedClass }

const linesOf = (planned: PlannedMonth): PlanLine[] =>
  planned.classes.length === 0
    ? [{ planned, first: true }]
    : planned.classes.map((one, i) => ({ planned, first: i === 0, one }))

const columns = (minShare: number): Column<PlanLine>[] => [
  { title: 'MONTH', text: ({ planned, first }) => (first ? monthText(planned.month) : '') },
  { title: 'CLASS', text: ({ one }) => one?.name ?? 'all', flexible: 10 },
  {
    title: 'TRACES',
    text: ({ planned, one }) => (one === undefined ? `~${number(planned.traces)}` : number(one.traces)),
    right: true,
  },
  { title: 'SIZE', text: ({ planned, one }) => sizeText(one?.bytes ?? planned.bytes), right: true },
  {
    title: '',
    text: ({ planned, one }) => fateOf(planned, one, minShare),
    style: ({ planned, one }) => (goesOf(planned, one) ? 'red' : undefined),
  },
]

const number = (count: number): string => count.toLocaleString('en-US')

const goesOf = ({ action }: PlannedMonth, one: PlannedClass | undefined): boolean =>
  one?.goes === true && (action === 'drop' || action === 'rewrite')

function fateOf(planned: PlannedMonth, one: PlannedClass | undefined, minShare: number): string {
  if (goesOf(planned, one)) return 'goes'
  if (one === undefined) return planned.action === 'drop' ? 'goes, being empty' : 'stays'
  if (one.goes) return `waits until ${minShare * 100} % of the month can go`
  if (one.expiresAt === undefined) return 'stays'
  return `stays until ${one.expiresAt.toISOString().slice(0, 10)}`
}

function summaryOf(planned: readonly PlannedMonth[]): string {
  const going = planned.filter(({ action }) => action === 'drop' || action === 'rewrite')
  if (going.length === 0) return 'nothing would go'
  const total = (of: 'removedTraces' | 'removedBytes'): number => going.reduce((sum, one) => sum + one[of], 0)
  const dropped = going.filter(({ action }) => action === 'drop').length
  const how = [
    ...(dropped === 0 ? [] : [`${counted(dropped, 'month')} dropped`]),
    ...(dropped === going.length ? [] : [`${counted(going.length - dropped, 'month')} rewritten`]),
  ]
  return `would remove ${counted(total('removedTraces'), 'trace')}, about ${sizeText(total('removedBytes'))}: ${how.join(', ')}`
}

function planJson({ rules, keepMonths }: RetentionPolicy, planned: readonly PlannedMonth[]): JsonObject {
  return {
    rules: rules.map((rule) => ({ class: classText(rule), keep_days: rule.keepDays })),
    keep_months: keepMonths,
    months: planned.map(({ month, action, bytes, traces, removedTraces, removedBytes, classes }) => ({
      month: monthText(month),
      partition: partitionName(month),
      action,
      traces,
      bytes,
      removed_traces: removedTraces,
      removed_bytes: removedBytes,
      classes: classes.map((one) =>
        present({
          class: one.name,
          traces: one.traces,
          bytes: one.bytes,
          goes: one.goes,
          expires_at: one.expiresAt,
        }),
      ),
    })),
  }
}

function appliedLine({
  month,
  action,
  removed,
  kept,
  bytesFreed,
  lockedMs,
  tookMs,
  file,
}: AppliedMonth & { file?: string | undefined }): string {
  const about = action === 'dropped' && lockedMs === 0 ? 'about ' : ''
  const parts = [
    `${about}${counted(removed, 'trace')} removed, ${number(kept)} kept`,
    `${sizeText(Math.max(0, bytesFreed))} freed`,
    `in ${durationText(tookMs)}`,
    ...(lockedMs > 0 ? [`others waited ${durationText(lockedMs)} at most`] : []),
    ...(file === undefined ? [] : [`exported to ${file}`]),
  ]
  return `${monthText(month)}  ${action}: ${parts.join(', ')}`
}

const appliedJson = ({
  month,
  action,
  file,
  ...rest
}: AppliedMonth & { file?: string | undefined }): JsonObject =>
  present({
    month: monthText(month),
    action,
    removed_traces: rest.removed,
    kept_traces: rest.kept,
    freed_bytes: rest.bytesFreed,
    locked_ms: rest.lockedMs,
    took_ms: rest.tookMs,
    file,
  })
