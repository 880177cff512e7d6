// What callers give, made usable: nothing here throws, but for an unknown status.
import {
  EARLIEST_START_MS,
  InvalidStatusError,
  LATEST_START_AHEAD_MS,
  STEP_ID_TEXT,
  STEP_STATUSES,
  type StepId,
  type StepStatus,
  textOf,
} from '@stepwell/protocol'
import { knownName, learnedName } from './known-names.ts'

/** Throws InvalidStatusError for what is no status of a step. */
export function checkStatus(status: string): void {
  // First what nearly all are.
  if (status !== 'success' && !STEP_STATUSES.includes(status as StepStatus))
    throw new InvalidStatusError(status, STEP_STATUSES)
}

/** An execution id as it travels and as its key in Redis is named, or undefined for none. */
export function executionIdOf(id: unknown): string | undefined {
  return textOf(id ?? '') || undefined
}

/** A usable name of whatever was passed. */
export function nameOf(name: unknown): string {
  // Knowing takes half of the time of cleaning. The known text itself is given, for it is compared at once where it is met again.
  const known = typeof name === 'string' ? knownName(name) : undefined
  return (known ?? learnedName(textOf(name ?? '') || 'unnamed')).name
}

// What the protocol takes, with room to spare: a start or an end outside would have the whole delta refused.
const TIME_MAX_MS = 9e12

/** Milliseconds since 1970, or undefined for what is no time, or none between 1970 and 2255. */
export function timeOf(time: Date | number | null | undefined): number | undefined {
  const ms = typeof time === 'object' ? millisecondsOf(time) : time
  return typeof ms === 'number' && ms >= 0 && ms <= TIME_MAX_MS ? ms : undefined
}

// What only looks like a Date has no time, and says so by throwing.
function millisecondsOf(date: unknown): number | undefined {
  try {
    return date instanceof Date ? date.getTime() : undefined
  } catch {
    return undefined
  }
}

/** The id, or undefined for what is no step id: a worker would refuse the whole delta for it. */
export function stepIdOf(id: unknown): StepId | undefined {
  if (typeof id === 'number') return Number.isSafeInteger(id) && id >= 1 ? id : undefined
  return typeof id === 'string' && STEP_ID_TEXT.test(id) ? id : undefined
}

/** Whether a trace may have started then: outside a worker would refuse all that is said of it. */
export function isStart(ms: number | undefined): ms is number {
  return typeof ms === 'number' && ms >= EARLIEST_START_MS && ms <= Date.now() + LATEST_START_AHEAD_MS
}

/** Milliseconds, or undefined for what is no duration. */
export function durationOf(ms: number | null | undefined): number | undefined {
  return typeof ms === 'number' && ms >= 0 ? Math.min(ms, TIME_MAX_MS) : undefined
}

/** The text of a message, or undefined for none: JavaScript callers pass the error itself, or null. */
export function messageOf(message: unknown): string | undefined {
  if (message === undefined || message === null) return undefined
  return typeof message === 'string' ? message : errorText(message)
}

/** The message of whatever was thrown. Never throws. */
export function errorText(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message || error.name : error)
  } catch {
    return 'unknown error'
  }
}
