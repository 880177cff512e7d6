/** The states a trace can be in. `running` until it ends; `timeout` when it stopped giving signs of life, or was ended so. */
export const TRACE_STATUSES = ['running', 'success', 'failed', 'timeout'] as const
export type TraceStatus = (typeof TRACE_STATUSES)[number]

/** The states a trace can end in. */
export const FINAL_STATUSES = ['success', 'failed', 'timeout'] as const
export type FinalStatus = (typeof FINAL_STATUSES)[number]

/** The states a step can end in. A position in this list is the step's status on the wire and in the table. */
export const STEP_STATUSES = ['success', 'failed', 'timeout'] as const
export type StepStatus = (typeof STEP_STATUSES)[number]

/** Unique within its trace: a whole number ≥ 1 from the process that started the trace, else text (`<producer>.<n>`). */
export type StepId = number | string

/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

/** One step of a trace, as people and tools see it. What is unknown is absent. */
export interface Step {
  id: StepId
  name: string
  /** When it started (wall clock of its process, milliseconds). Absent where the source had no times. */
  timestamp?: Date
  /** Milliseconds, to the microsecond. Absent while the step is running. */
  durationMs?: number
  status: StepStatus | 'running'
  errorMessage?: string
  /** The step that it ran in. Absent at the top level of the trace. */
  parentId?: StepId
  attributes?: JsonObject
}

/** What lists return of a trace: everything but its steps. */
export interface TraceSummary {
  traceId: string
  skillName: string
  executionId?: string
  status: TraceStatus
  startedAt: Date
  completedAt?: Date
  totalDurationMs?: number
  stepCount: number
  /** How many steps their producers recorded beyond those that are here. 0 means that the trace is whole. */
  missingSteps: number
  errorMessage?: string
  metadata: JsonObject
  parentTraceId?: string
  parentStepId?: StepId
  rootTraceId?: string
}

/** A trace with its steps, in the order of their ids: as its producer started them, then those of other processes. */
export interface Trace extends TraceSummary {
  steps: Step[]
}

/**
 * Where a step runs, small enough for a job's payload: give it to another process and `attach` there.
 * `traceId` alone is enough for traces that Stepwell named; others need `startedAt` (milliseconds since 1970).
 */
export interface TraceContextData {
  traceId: string
  stepId?: StepId
  executionId?: string
  rootTraceId?: string
  startedAt?: number
}

/**
 * A live trace object may carry a function under this key. Who finalizes the trace by another way than its tracer
 * (TraceStorage does) calls it with the end that was stored, so that the tracer sends the very same end.
 */
export const END_TRACE: unique symbol = Symbol.for('stepwell.endTrace')

/**
 * A live trace object may carry a function under this key that returns all its tracer knows of it as one delta, with the
 * step ids that the tracer's own events carry.
 */
export const DELTA_OF_TRACE: unique symbol = Symbol.for('stepwell.deltaOfTrace')

/** How a trace ended. Times in milliseconds since 1970; `null` where the source did not say. */
export interface TraceEnd {
  status: FinalStatus
  completedAtMs: number | null
  durationMs: number | null
  errorMessage: string | null
}
