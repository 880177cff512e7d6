import { AsyncLocalStorage } from 'node:async_hooks'
import type { StepId } from '@stepwell/protocol'
import type { OpenTrace } from './open-trace.ts'
import type { Recording } from './recording.ts'

/** Where code runs: in which trace, and in which step of it. */
export interface Place {
  trace: OpenTrace
  /** Of the tracer that the trace belongs to. */
  recording: Recording
  stepId: StepId | undefined
  /** The place around it, for when this trace has ended and the flow goes on. */
  outer: Place | undefined
}

/** The place of each asynchronous flow. One for the process: `step()` must find the trace of any tracer. */
export const places = new AsyncLocalStorage<Place | undefined>()

/** The innermost place whose trace has not ended. */
export function currentPlace(): Place | undefined {
  const current = notEnded(places.getStore())
  // A flow may go on for ever, each trace begun in the one before: those that have ended are let go.
  for (let place = current; place !== undefined; place = place.outer) place.outer = notEnded(place.outer)
  return current
}

function notEnded(from: Place | undefined): Place | undefined {
  let place = from
  while (place !== undefined && place.trace.end !== undefined) place = place.outer
  return place
}
