import type { JsonBytes, TraceContextData, TraceEnd } from '@stepwell/protocol'

const EXPECTED = Buffer.from(',"n":[')
const COMMA = 44
const CLOSE_LIST = 93

/** The members of a delta that say how the trace began (docs/PROTOCOL.md), a comma before each. */
export function beginningText(trace: {
  readonly executionId: string | undefined
  readonly limitMs: number | undefined
  readonly parent: TraceContextData | undefined
}): string {
  const { executionId, limitMs, parent } = trace
  let text = ',"b":1'
  if (executionId !== undefined) text += `,"x":${JSON.stringify(executionId)}`
  if (limitMs !== undefined) text += `,"l":${limitMs}`
  if (parent !== undefined) {
    const { traceId, stepId, rootTraceId } = parent
    text += `,"u":${JSON.stringify([traceId, stepId ?? null, rootTraceId ?? traceId])}`
  }
  return text
}

/** That which says how it ended, a comma before it. */
export function endingText(end: TraceEnd, startedAtMs: number): string {
  const offset = end.completedAtMs === null ? null : end.completedAtMs - startedAtMs
  const error = end.errorMessage === null ? '' : `,${JSON.stringify(end.errorMessage)}`
  return `,"e":["${end.status.charAt(0)}",${offset},${end.durationMs}${error}]`
}

/** Writes the one that says how many steps its producer started and completed. */
export function writeExpected(out: JsonBytes, counts: { started: number; completed: number }): void {
  out.ascii(EXPECTED)
  out.number(counts.started)
  out.byte(COMMA)
  out.number(counts.completed)
  out.byte(CLOSE_LIST)
}
