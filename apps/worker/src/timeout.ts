import { type Delta, isCompleted, openStep, type Said, type TraceState } from '@stepwell/protocol'

/**
 * The end of a trace that passed its own limit, or whose producers have all been silent for `silentForMs` (undefined: they
 * have not); undefined if it has ended, runs on, or is held: then only its own limit ends it. It is a delta like any other and gives way to a real end that comes later.
 * It follows from the trace alone, so two workers that find the same silence say the same. It names the step.
 */
export function timeoutOf(
  state: TraceState,
  silentForMs: number | undefined,
  nowMs: number,
): Said | undefined {
  if (state.end !== null) return undefined
  const ageMs = nowMs - state.startedAtMs
  if (state.limitMs !== null && ageMs >= state.limitMs) {
    return endOf(state, state.limitMs, `Timed out after ${inWords(state.limitMs)}${where(state)}`)
  }
  if (silentForMs === undefined || state.isHeld) return undefined
  return endOf(state, lastActivityMs(state), `No sign of life for ${inWords(silentForMs)}${where(state)}`)
}

function endOf(state: TraceState, offsetMs: number, errorMessage: string): Said {
  const delta: Delta = { t: state.traceId, n: [0, 0], e: ['t', Math.floor(offsetMs), offsetMs, errorMessage] }
  if (state.startedAtMs !== undefined) delta.at = state.startedAtMs
  return { producer: '', delta }
}

/** Milliseconds from the start to the last thing that is known to have happened. */
function lastActivityMs(state: TraceState): number {
  let last = 0
  for (const step of state.steps) last = Math.max(last, (step[2] ?? 0) + (step[3] ?? 0))
  return last
}

function where(state: TraceState): string {
  const open = openStep(state)
  if (open !== undefined) return `, in step '${open[1]}'`
  const last = state.steps.filter(isCompleted).at(-1)
  return last === undefined ? ', before its first step' : `, after step '${last[1]}'`
}

function inWords(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`
}
