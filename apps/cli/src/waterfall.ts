import { MAX_STEPS, type Step, type StepId, type Trace } from '@stepwell/protocol'
import { clockSkew } from '@stepwell/query'
import stringWidth from 'string-width'
import { counted, durationText, statusStyle, timeText } from './format.ts'
import { fit, plain, type Terminal } from './terminal.ts'

/** Columns where the output is no terminal. */
const STANDARD_WIDTH = 100
const NAME_MAX_WIDTH = 44
const BAR_MIN_WIDTH = 10

interface Row {
  step: Step
  depth: number
}

/**
 * A trace as text: what it is, then a line a step: name (indented under its parent), bar on the time of the trace, duration.
 * Fits the width. Steps without a time have no bar; running ones go on to the edge. At most `maxSteps` steps are shown.
 */
export function waterfallLines(
  trace: Trace,
  { width, paint }: Pick<Terminal, 'width' | 'paint'>,
  { maxSteps, nowMs }: { maxSteps: number; nowMs: number },
): string[] {
  const columns = Number.isFinite(width) ? Math.max(40, width) : STANDARD_WIDTH
  const rows = inTree(trace.steps)
  const shown = rows.slice(0, maxSteps)
  const scale = scaleOf(trace, nowMs)
  const labels = shown.map(({ step, depth }) => `${'  '.repeat(Math.min(depth, 12))}${plain(step.name)}`)
  const nameWidth = Math.min(
    labels.reduce((widest, label) => Math.max(widest, stringWidth(label)), 8),
    NAME_MAX_WIDTH,
    Math.max(8, columns - BAR_MIN_WIDTH - 14),
  )
  const barWidth = Math.max(BAR_MIN_WIDTH, columns - nameWidth - 14)
  const lines = head(trace, columns, paint, nowMs)
  if (rows.length > 0) lines.push('')
  for (const [i, { step, depth }] of shown.entries()) {
    const mark =
      step.status === 'success'
        ? ' '
        : step.status === 'running'
          ? '…'
          : step.status === 'timeout'
            ? '!'
            : '✗'
    const bar = barOf(step, trace, scale, barWidth, nowMs)
    const style = statusStyle(step.status)
    const duration = step.status === 'running' ? 'running' : durationText(step.durationMs)
    lines.push(
      `${paint(style, mark)} ${fit(labels[i] as string, nameWidth)} ${step.status === 'success' ? bar : paint(style, bar)} ${duration.padStart(9)}`.trimEnd(),
    )
    if (step.errorMessage !== undefined) {
      const indent = ' '.repeat(2 + 2 * Math.min(depth, 12) + 2)
      lines.push(paint('red', `${indent}${fit(plain(step.errorMessage), columns - indent.length)}`.trimEnd()))
    }
  }
  if (rows.length > shown.length)
    lines.push(paint('dim', `  … ${rows.length - shown.length} more steps: --all shows them`))
  return lines
}

function head(trace: Trace, columns: number, paint: Terminal['paint'], nowMs: number): string[] {
  const took =
    trace.totalDurationMs !== undefined
      ? durationText(trace.totalDurationMs)
      : trace.status === 'running'
        ? `for ${durationText(Math.max(0, nowMs - trace.startedAt.getTime()))}`
        : ''
  const outcome = took === '' ? trace.status : `${trace.status}  ${took}`
  const skill = plain(trace.skillName) || '(beginning not seen)'
  const skillWidth = Math.min(stringWidth(skill), Math.max(8, columns - outcome.length - 2))
  const lines = [`${paint('bold', fit(skill, skillWidth))}  ${paint(statusStyle(trace.status), outcome)}`]
  const told: [string, string | undefined][] = [
    ['started', `${timeText(trace.startedAt)} UTC`],
    ['trace', trace.traceId],
    ['execution', trace.executionId],
    [
      'parent',
      trace.parentTraceId &&
        `${trace.parentTraceId}${trace.parentStepId === undefined ? '' : `, step ${trace.parentStepId}`}`,
    ],
    ['metadata', Object.keys(trace.metadata).length === 0 ? undefined : JSON.stringify(trace.metadata)],
  ]
  for (const [name, value] of told) {
    if (value !== undefined)
      lines.push(`${paint('dim', name.padEnd(10))}${fit(plain(value), columns - 10).trimEnd()}`)
  }
  if (trace.errorMessage !== undefined)
    lines.push(
      `${paint('dim', 'error'.padEnd(10))}${paint('red', fit(plain(trace.errorMessage), columns - 10).trimEnd())}`,
    )
  if (trace.missingSteps > 0)
    lines.push(paint('yellow', fit(`${'missing'.padEnd(10)}${missingText(trace)}`, columns).trimEnd()))
  for (const text of skewTexts(trace))
    lines.push(paint('yellow', fit(`${'clocks'.padEnd(10)}${text}`, columns).trimEnd()))
  return lines
}

/** Times that do not fit together, in words. The bars show them as they were recorded. */
function skewTexts(trace: Trace): string[] {
  const skew = clockSkew(trace)
  if (skew === undefined) return []
  const { stepsBefore, beforeMs, stepsAfter, afterMs, endBeforeStartMs } = skew
  const start = (steps: number): string => `${counted(steps, 'step')} ${steps === 1 ? 'starts' : 'start'}`
  return [
    ...(stepsBefore > 0
      ? [`${start(stepsBefore)} up to ${durationText(beforeMs)} before the run: a clock differs`]
      : []),
    ...(stepsAfter > 0
      ? [
          `${start(stepsAfter)} up to ${durationText(afterMs)} after its end: a clock differs, or work went on`,
        ]
      : []),
    ...(endBeforeStartMs > 0
      ? [`it ends ${durationText(endBeforeStartMs)} before it starts: a clock was set`]
      : []),
  ]
}

function missingText({ missingSteps, stepCount, status }: Trace): string {
  const [was, is] = missingSteps === 1 ? ['was', 'is'] : ['were', 'are']
  const why = status === 'running' ? `${is} not here yet` : 'did not arrive'
  // How many are kept is a setting of the workers; fewer than usual are never cut.
  const orCut = stepCount < MAX_STEPS ? '' : `, or ${was} cut: STEPWELL_MAX_STEPS`
  return `${counted(missingSteps, 'step')} ${was} recorded and ${why}${orCut}`
}

/** The steps with their depths, each under its parent; what has no parent here, or is in a circle, stands at the top. */
function inTree(steps: readonly Step[]): Row[] {
  const byId = new Map(steps.map((step) => [step.id, step]))
  const children = new Map<StepId | undefined, Step[]>()
  const parentOf = (step: Step): StepId | undefined =>
    step.parentId !== undefined && step.parentId !== step.id && byId.has(step.parentId)
      ? step.parentId
      : undefined
  for (const step of steps) {
    const siblings = children.get(parentOf(step))
    if (siblings === undefined) children.set(parentOf(step), [step])
    else siblings.push(step)
  }
  // Stable: steps without a time keep their place among those that were started before and after them.
  for (const siblings of children.values()) {
    if (siblings.every((step) => step.timestamp !== undefined))
      siblings.sort((a, b) => (a.timestamp as Date).getTime() - (b.timestamp as Date).getTime())
  }
  const rows: Row[] = []
  const seen = new Set<StepId>()
  const visit = (roots: readonly Step[]): void => {
    // A stack, not recursion: chains can be as long as the trace.
    const stack = roots.map((step) => ({ step, depth: 0 })).reverse()
    for (let row = stack.pop(); row !== undefined; row = stack.pop()) {
      if (seen.has(row.step.id)) continue
      seen.add(row.step.id)
      rows.push(row)
      const below = children.get(row.step.id) ?? []
      for (let i = below.length - 1; i >= 0; i--) stack.push({ step: below[i] as Step, depth: row.depth + 1 })
    }
  }
  visit(children.get(undefined) ?? [])
  for (const step of steps) if (!seen.has(step.id)) visit([step])
  return rows
}

/** From when to when the bars reach, in milliseconds from the start of the trace. */
function scaleOf(trace: Trace, nowMs: number): { fromMs: number; spanMs: number } {
  const startMs = trace.startedAt.getTime()
  let fromMs = 0
  let toMs =
    trace.totalDurationMs ?? (trace.completedAt === undefined ? 0 : trace.completedAt.getTime() - startMs)
  if (trace.status === 'running') toMs = Math.max(toMs, nowMs - startMs)
  for (const step of trace.steps) {
    if (step.timestamp === undefined) continue
    const at = step.timestamp.getTime() - startMs
    fromMs = Math.min(fromMs, at)
    toMs = Math.max(toMs, at + (step.durationMs ?? 0))
  }
  return { fromMs, spanMs: Math.max(toMs - fromMs, 1e-6) }
}

const EIGHTHS = ' ▏▎▍▌▋▊▉█'

function barOf(
  step: Step,
  trace: Trace,
  { fromMs, spanMs }: { fromMs: number; spanMs: number },
  width: number,
  nowMs: number,
): string {
  if (step.timestamp === undefined) return ' '.repeat(width)
  const at = step.timestamp.getTime() - trace.startedAt.getTime()
  const open = step.status === 'running'
  const endMs = open
    ? trace.status === 'running'
      ? nowMs - trace.startedAt.getTime()
      : fromMs + spanMs
    : at + (step.durationMs ?? 0)
  const from = Math.min(width - 1, Math.max(0, Math.floor(((at - fromMs) / spanMs) * width)))
  const length = Math.min(width - from, Math.max(0, ((endMs - at) / spanMs) * width))
  const whole = Math.floor(length)
  const rest = open ? 0 : Math.round((length - whole) * 8)
  const bar =
    (open ? '▒' : '█').repeat(whole) + (rest > 0 && from + whole < width ? EIGHTHS.charAt(rest) : '')
  return `${' '.repeat(from)}${bar === '' ? '▏' : bar}`.padEnd(width)
}
