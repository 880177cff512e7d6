import {
  boundText,
  DELTA_OF_TRACE,
  type Delta,
  ERROR_MAX_LENGTH,
  encodeObject,
  InvalidInputError,
  InvalidStatusError,
  NAME_MAX_LENGTH,
  parseTraceId,
  type Redactor,
  redactMessage,
  STEP_STATUSES,
  type Step,
  type StepTuple,
  type Trace,
  traceIdStart,
} from '@stepwell/protocol'

/** What `finalizeTrace` needs to know of a trace. A trace of a tracer (`getCurrentTrace()`) fits; so does a plain object. */
export type TraceInput = Pick<Trace, 'traceId' | 'skillName' | 'startedAt'> & {
  steps?: readonly (Omit<Step, 'id'> & Partial<Pick<Step, 'id'>>)[]
} & Partial<Omit<Trace, 'traceId' | 'skillName' | 'startedAt' | 'steps' | 'status'>> & { status?: string }

/**
 * The trace as its owner would say it. A trace of a tracer says it itself: with the ids that its events carry, so that
 * both are the same steps. A plain object's steps are numbered 1, 2, … unless they have ids.
 */
export function deltaOfTrace(trace: TraceInput, redactor: Redactor | undefined): Delta {
  const live = (trace as { [DELTA_OF_TRACE]?: () => Delta })[DELTA_OF_TRACE]
  if (live !== undefined) return live.call(trace)
  const traceId = parseTraceId(String(trace.traceId))
  if (traceId === undefined)
    throw new InvalidInputError(`'${trace.traceId}' is no trace id: a UUID is needed`)
  const startedAtMs = traceIdStart(traceId) ?? timeOf(trace.startedAt, 'startedAt')
  const steps = (trace.steps ?? []).map((step, i) => tupleOf(step, step.id ?? i + 1, startedAtMs, redactor))
  const delta: Delta = {
    t: traceId,
    b: 1,
    k: boundText(trace.skillName, NAME_MAX_LENGTH),
    s: steps,
    n: [steps.length, steps.filter((step) => step[3] !== null).length],
  }
  if (traceIdStart(traceId) === undefined) delta.at = startedAtMs
  if (trace.executionId !== undefined) delta.x = boundText(trace.executionId, NAME_MAX_LENGTH)
  if (trace.metadata !== undefined)
    Object.assign(delta, { m: JSON.parse(encodeObject(trace.metadata, undefined, redactor)), r: 1 })
  if (trace.parentTraceId !== undefined) {
    delta.u = [trace.parentTraceId, trace.parentStepId ?? null, trace.rootTraceId ?? null]
  }
  return delta
}

function tupleOf(
  step: Omit<Step, 'id'>,
  id: Step['id'],
  startedAtMs: number,
  redactor: Redactor | undefined,
): StepTuple {
  const status = step.status === 'running' ? 0 : STEP_STATUSES.indexOf(step.status)
  if (status < 0) throw new InvalidStatusError(step.status, STEP_STATUSES)
  return [
    id,
    boundText(step.name, NAME_MAX_LENGTH),
    step.timestamp === undefined
      ? null
      : timeOf(step.timestamp, `timestamp of step '${step.name}'`) - startedAtMs,
    step.status === 'running' ? null : (step.durationMs ?? 0),
    status,
    step.errorMessage === undefined
      ? null
      : boundText(redactMessage(step.errorMessage, redactor), ERROR_MAX_LENGTH),
    step.parentId ?? null,
    step.attributes === undefined ? null : JSON.parse(encodeObject(step.attributes, undefined, redactor)),
  ]
}

function timeOf(time: Date, what: string): number {
  const ms = new Date(time).getTime()
  if (Number.isNaN(ms)) throw new InvalidInputError(`${what} is not a valid date`)
  return ms
}
