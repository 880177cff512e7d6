import type { Delta } from './delta.ts'
import { STEP_ID_TEXT, UUID } from './ids.ts'
import { ERROR_MAX_LENGTH, NAME_MAX_LENGTH } from './plain-json.ts'
import { STEP_STATUSES } from './trace.ts'

/** Most milliseconds that an offset or a duration may have: about 317 years. */
export const SPAN_MAX_MS = 1e13
/** How deep metadata and attributes may nest. JSON.parse takes any depth, what comes after it does not. */
export const NESTING_MAX = 100
/** Most steps that a producer may say it started or completed in one trace: what sums of it are stored in holds twice as many. */
export const STEP_COUNT_MAX = 1e9

/**
 * Whether a parsed value is a delta with known keys only, each as docs/PROTOCOL.md has it: then `deltaSchema` takes it and
 * gives it back as it is. False says nothing: the schema decides, and explains. By hand because nearly every delta comes
 * this way: the schema takes 14 µs for a run of ten steps, this 0.9.
 */
export function isPlainDelta(value: unknown): value is Delta {
  if (!isObject(value)) return false
  for (const key in value) {
    const known = Object.hasOwn(PARTS, key) ? PARTS[key as keyof Delta] : undefined
    if (known === undefined || !known(value[key])) return false
  }
  return value.t !== undefined && value.n !== undefined && (value.b === undefined || value.k !== undefined)
}

type Check = (value: unknown) => boolean

const isObject = (v: unknown): v is Record<string, unknown> =>
  typeof v === 'object' && v !== null && !Array.isArray(v)
const isCount: Check = (v) => Number.isSafeInteger(v) && (v as number) >= 0
const isStepCount: Check = (v) => isCount(v) && (v as number) <= STEP_COUNT_MAX
const isSpan: Check = (v) => typeof v === 'number' && v >= -SPAN_MAX_MS && v <= SPAN_MAX_MS
const isDuration: Check = (v) => typeof v === 'number' && v >= 0 && v <= SPAN_MAX_MS
const isName: Check = (v) => typeof v === 'string' && v.length <= NAME_MAX_LENGTH
const isNonEmptyName: Check = (v) => v !== '' && isName(v)
const isErrorMessage: Check = (v) => typeof v === 'string' && v.length <= ERROR_MAX_LENGTH
const isTraceId: Check = (v) => typeof v === 'string' && UUID.test(v)
const isStepId: Check = (v) =>
  typeof v === 'number' ? Number.isSafeInteger(v) && v >= 1 : typeof v === 'string' && STEP_ID_TEXT.test(v)
const isOne: Check = (v) => v === 1
const orNull =
  (check: Check): Check =>
  (v) =>
    v === null || check(v)

/** An object whose members nest at most as deep as metadata and attributes may. */
export const isJsonObject: Check = (v) => isObject(v) && isWithinDepth(v, NESTING_MAX)

function isWithinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth === 0) return false
  if (Array.isArray(value)) return value.every((item) => isWithinDepth(item, depth - 1))
  for (const key in value)
    if (!isWithinDepth((value as Record<string, unknown>)[key], depth - 1)) return false
  return true
}

/** A list whose items pass the checks of their places, the first `least` being there. */
const isTuple =
  (least: number, checks: readonly Check[]): Check =>
  (v) => {
    if (!Array.isArray(v) || v.length < least || v.length > checks.length) return false
    for (let i = 0; i < v.length; i++) if (!(checks[i] as Check)(v[i])) return false
    return true
  }

const isStep = isTuple(2, [
  isStepId,
  isName,
  orNull(isSpan),
  orNull(isDuration),
  (v) => isCount(v) && (v as number) < STEP_STATUSES.length,
  orNull(isErrorMessage),
  orNull(isStepId),
  orNull(isJsonObject),
  isCount,
])

const PARTS: Readonly<Record<keyof Delta, Check>> = {
  t: isTraceId,
  at: (v) => Number.isFinite(v),
  b: isOne,
  k: isNonEmptyName,
  x: isNonEmptyName,
  m: isJsonObject,
  r: isCount,
  u: isTuple(3, [isTraceId, orNull(isStepId), orNull(isTraceId)]),
  l: isDuration,
  h: isOne,
  s: (v) => Array.isArray(v) && v.every(isStep),
  n: isTuple(2, [isStepCount, isStepCount]),
  e: isTuple(3, [
    (v) => v === 's' || v === 'f' || v === 't',
    orNull(isSpan),
    orNull(isDuration),
    orNull(isErrorMessage),
  ]),
}
