import type { JsonObject, StepId } from './trace.ts'

/**
 * A step on the wire and in the table: an array, so that no key is repeated; what is at its end and has its default is
 * left out. A step without a duration is open.
 */
export type StepTuple = [
  id: StepId,
  name: string,
  /** Milliseconds from the start of the trace; null where unknown. May be negative. */
  startMs?: number | null,
  /** Milliseconds; null while the step is open. */
  durationMs?: number | null,
  /** Position in STEP_STATUSES; default 0, success. */
  status?: number,
  errorMessage?: string | null,
  parentId?: StepId | null,
  attributes?: JsonObject | null,
  /** How often a completed step was corrected; default 0. The higher one counts. */
  revision?: number,
]

/** How many steps a producer says that it started and completed so far. */
export type Expected = [started: number, completed: number]

/** What one producer has to say about one trace since its last flush. Keys are short: every frame carries many. */
export interface Delta {
  /** Trace id, canonical. */
  t: string
  /** Start of the trace, milliseconds since 1970. Only and always for ids that do not tell it. */
  at?: number
  /** 1: the beginning of the trace is in this delta. With `e` it is whole: all that the owner will ever say. */
  b?: 1
  /** Skill. In each delta of the owner, the producer that started the trace; never in others'. */
  k?: string
  /** Execution id. */
  x?: string
  /** Metadata, whole; `r` is its revision (1, 2, …). Owner only. */
  m?: JsonObject
  r?: number
  /** Parent trace, the step there, and the root of the tree. */
  u?: [parentTraceId: string, parentStepId: StepId | null, rootTraceId: string | null]
  /** Milliseconds after its start at which the trace counts as timed out. */
  l?: number
  /** 1: held. The trace was recorded elsewhere, as it stands; nobody goes on with it here, so silence is no sign of death. */
  h?: 1
  /** Steps completed, and steps newly open. */
  s?: StepTuple[]
  n: Expected
  /** The end: status, milliseconds from start to end by the wall clock, duration by the monotonic clock, error message. */
  e?: DeltaEnd
}

/** How a trace ended: status (success, failed, timeout), milliseconds from its start by the wall clock, duration, message. */
export type DeltaEnd = [
  status: 's' | 'f' | 't',
  offsetMs: number | null,
  durationMs: number | null,
  errorMessage?: string | null,
]

/** A delta and who said it: '' for the owner, else the producer's id. */
export interface Said {
  producer: string
  delta: Delta
}
