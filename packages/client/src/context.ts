import { AsyncLocalStorage } from 'node:async_hooks'
import type { StepId } from '@stepwell/protocol'
import type { OpenTrace } from './open-trace.ts'
import type { Recording } from './recording.ts'

/** Where code runs: in which trace, and in which step of it. */
export interface Place {
  readonly trace: OpenTrace
  /** Of the tracer that the trace belongs to. */
  readonly recording: Recording
  readonly stepId: StepId | undefined
  /** The place around it, for when this trace has ended and the flow goes on. */
  outer: Place | undefined
  /** Places from here outwards, and how many were left when those that had ended were last let go. */
  depth: number
  kept: number
}

/** The place of each asynchronous flow. One for the process: `step()` must find the trace of any tracer. */
export const places = new AsyncLocalStorage<Place | undefined>()

/** A place inside another. */
export function placeIn(
  outer: Place | undefined,
  trace: OpenTrace,
  recording: Recording,
  stepId: StepId | undefined,
): Place {
  return { trace, recording, stepId, outer, depth: (outer?.depth ?? 0) + 1, kept: outer?.kept ?? 0 }
}

/** The innermost place whose trace has not ended. */
export function currentPlace(): Place | undefined {
  const current = notEnded(places.getStore())
  // A flow may go on for ever, each trace begun in the one before: those that have ended are let go. Not each time, for
  // a flow may also begin 50,000 traces before it ends one.
  if (current !== undefined && current.depth > 2 * current.kept + 8) letGo(current)
  return current
}

function letGo(current: Place): void {
  let kept = 0
  for (let place: Place | undefined = current; place !== undefined; place = place.outer) {
    place.outer = notEnded(place.outer)
    kept += 1
  }
  current.depth = kept
  current.kept = kept
}

function notEnded(from: Place | undefined): Place | undefined {
  let place = from
  while (place !== undefined && place.trace.end !== undefined) place = place.outer
  return place
}
