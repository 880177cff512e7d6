import {
  type Step,
  type StepId,
  StepNotStartedError,
  type StepStatus,
  TraceContextError,
} from '@stepwell/protocol'
import type { Place } from './context.ts'
import { checkStatus, nameOf } from './given-values.ts'
import { NO_STEP } from './handles.ts'
import type { StepOptions } from './recording.ts'
import type { ExecutionTracer } from './tracer.ts'

/**
 * Records steps of the current trace by their names: the specification's form. Steps open under one name end last-in first-out.
 * The current trace is that of the flow; else the tracer's only open one; with several `bind` says which.
 * A disabled tracer's returns one step for all, of id 0 and without a name.
 */
export class TraceRecorder {
  readonly #tracer: ExecutionTracer
  readonly #traceId: string | undefined

  constructor(tracer: ExecutionTracer, traceId?: string) {
    this.#tracer = tracer
    this.#traceId = traceId
  }

  /** A recorder for one trace of this tracer, wherever it is used. */
  bind(traceId: string): TraceRecorder {
    return new TraceRecorder(this.#tracer, traceId)
  }

  /** Marks the start of a step; returns its id. Throws TraceContextError. */
  startStep(name: string, options?: StepOptions): StepId {
    const place = this.#place(0)
    if (place === undefined) return 0
    return place.recording.startStep(place.trace, name, options, place.stepId).id
  }

  /**
   * Completes the step of this name that started last, and returns it. Throws StepNotStartedError, InvalidStatusError,
   * TraceContextError; then nothing was recorded.
   */
  endStep(
    name: string,
    status: StepStatus = 'success',
    errorMessage?: string | null,
    options?: { attributes?: unknown; endedAt?: Date | number | undefined },
  ): Step {
    checkStatus(status)
    if (this.#tracer.isDisabled) return NO_STEP
    const place = this.#place(1)
    if (place === undefined) return { id: 0, name: nameOf(name), status }
    const open = place.trace.open.lastOf(nameOf(name))
    if (open === undefined) throw new StepNotStartedError(name)
    return place.recording.endStep(place.trace, open, status, errorMessage ?? undefined, options)
  }

  /** A step that took `durationMs` milliseconds and ended now; returns it. Throws InvalidStatusError, TraceContextError. */
  recordStep(
    name: string,
    durationMs: number,
    status: StepStatus = 'success',
    errorMessage?: string | null,
    options?: StepOptions,
  ): Step {
    checkStatus(status)
    if (this.#tracer.isDisabled) return NO_STEP
    const place = this.#place(1)
    if (place === undefined) return { id: 0, name: nameOf(name), durationMs, status }
    return place.recording.recordStep(
      place.trace,
      name,
      durationMs,
      status,
      errorMessage ?? undefined,
      options,
      place.stepId,
    )
  }

  /** Where to record; undefined where nothing can be: then `events` are lost. */
  #place(events: number): Place | undefined {
    const place =
      this.#traceId === undefined ? this.#tracer.currentPlace() : this.#tracer.placeOf(this.#traceId)
    if (place === undefined && !this.#tracer.lose(events)) throw new TraceContextError(0)
    return place
  }
}
