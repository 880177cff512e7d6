import type { Delta, DeltaEnd, Expected, Said, StepTuple } from './delta.ts'
import { compareStepIds, producerOfStep, traceIdStart } from './ids.ts'
import { canonicalJson } from './plain-json.ts'
import type { JsonObject, StepId, TraceEnd, TraceStatus } from './trace.ts'

/** Steps that a trace keeps unless told otherwise; more are cut and show as missing. */
export const MAX_STEPS = 10_000

/**
 * All that is known of a trace. The merge law makes it from deltas, in any order, any number of times and any grouping:
 * each part has a total order and the greatest counts, so joining is commutative, associative and idempotent.
 */
export interface TraceState {
  traceId: string
  startedAtMs: number
  /** '' until the owner's beginning is known. */
  skill: string
  executionId: string | null
  parent: { traceId: string; stepId: StepId | null; rootTraceId: string | null } | null
  metadata: JsonObject
  /** 0 as long as there is no metadata. */
  metadataRevision: number
  /** null while running. */
  end: TraceEnd | null
  /** In the order of their ids, each id once, canonical (see `canonicalStep`). */
  steps: StepTuple[]
  /** By producer; '' is the owner. */
  expected: Record<string, Expected>
  /** Milliseconds after the start at which the trace counts as timed out. */
  limitMs: number | null
  /** Silence does not end it: a run imported while it ran. */
  isHeld: boolean
}

/** What follows from a state and is never merged. */
export interface Derived {
  status: TraceStatus
  /** Of the end; if it has none, of the failed step that ended last. */
  errorMessage: string | null
  errorIsDerived: boolean
  missingSteps: number
}

/**
 * The merge law (docs/adr/0003-merge-law.md): the trace that these deltas and the state stored so far describe. Pure.
 * All deltas MUST be of one trace (same id and start), and there MUST be at least one delta or a stored state.
 * Of more than `maxSteps` steps those with the smallest ids stay.
 */
export function assemble(said: readonly Said[], stored?: TraceState, maxSteps = MAX_STEPS): TraceState {
  const state =
    stored === undefined
      ? emptyState((said[0] as Said).delta)
      : { ...stored, expected: Object.assign(byProducer(), stored.expected) }
  for (const { producer, delta } of said) mergeHead(state, producer, delta)
  state.steps = mergeSteps(state.steps, said, maxSteps)
  return state
}

function emptyState(delta: Delta): TraceState {
  return {
    traceId: delta.t,
    startedAtMs: traceIdStart(delta.t) ?? Math.floor(delta.at as number),
    skill: '',
    executionId: null,
    parent: null,
    metadata: {},
    metadataRevision: 0,
    end: null,
    steps: [],
    expected: byProducer(),
    limitMs: null,
    isHeld: false,
  }
}

// Without a prototype: a producer may be called `constructor` or `__proto__`.
const byProducer = (): Record<string, Expected> => Object.create(null)

/** Everything but the steps. */
function mergeHead(state: TraceState, producer: string, delta: Delta): void {
  if (delta.k !== undefined && delta.k > state.skill) state.skill = delta.k
  if (delta.x !== undefined && (state.executionId === null || delta.x > state.executionId))
    state.executionId = delta.x
  if (delta.l !== undefined && (state.limitMs === null || delta.l > state.limitMs)) state.limitMs = delta.l
  if (delta.h === 1) state.isHeld = true
  if (delta.u !== undefined) mergeParent(state, delta.u)
  if (delta.m !== undefined && delta.k !== undefined) mergeMetadata(state, delta.m, delta.r ?? 1)
  if (delta.e !== undefined) {
    const end = decodeEnd(delta.e, state.startedAtMs)
    if (state.end === null || compareEnds(end, state.end) > 0) state.end = end
  }
  // Nothing expected is the same as nothing said: else the two would have to be told apart for ever.
  if (delta.n[0] > 0 || delta.n[1] > 0) {
    const known = state.expected[producer]
    state.expected[producer] = known
      ? [Math.max(known[0], delta.n[0]), Math.max(known[1], delta.n[1])]
      : delta.n
  }
}

function mergeParent(state: TraceState, [traceId, stepId, rootTraceId]: NonNullable<Delta['u']>): void {
  const parent = { traceId, stepId, rootTraceId }
  if (state.parent === null || canonicalJson(parent) > canonicalJson({ ...state.parent }))
    state.parent = parent
}

function mergeMetadata(state: TraceState, metadata: JsonObject, revision: number): void {
  // Empty metadata of the first revision is the same as none: else `{}` and absence would have to be told apart for ever.
  if (revision <= 1 && Object.keys(metadata).length === 0) return
  const newer =
    revision > state.metadataRevision ||
    (revision === state.metadataRevision && canonicalJson(metadata) > canonicalJson(state.metadata))
  if (!newer) return
  state.metadata = metadata
  state.metadataRevision = revision
}

const END_STATUS = { s: 'success', f: 'failed', t: 'timeout' } as const

/** The end that a delta tells, its time in milliseconds since 1970. */
export function decodeEnd(
  [status, offsetMs, durationMs, errorMessage]: DeltaEnd,
  startedAtMs: number,
): TraceEnd {
  return {
    status: END_STATUS[status],
    completedAtMs: offsetMs === null ? null : startedAtMs + Math.floor(offsetMs),
    durationMs,
    errorMessage: errorMessage ?? null,
  }
}

/**
 * The order of ends: a timeout gives way to any other; then the later, then the failed one. What is left is settled by
 * the content, so that neither who said it nor when need be stored.
 */
function compareEnds(a: TraceEnd, b: TraceEnd): number {
  return (
    Number(a.status !== 'timeout') - Number(b.status !== 'timeout') ||
    compareNullable(a.completedAtMs, b.completedAtMs) ||
    Number(a.status === 'failed') - Number(b.status === 'failed') ||
    compareNullable(a.durationMs, b.durationMs) ||
    compareNullable(a.errorMessage, b.errorMessage)
  )
}

function compareNullable<T extends number | string>(a: T | null, b: T | null): number {
  if (a === b) return 0
  if (a === null) return -1
  if (b === null) return 1
  return a < b ? -1 : 1
}

function mergeSteps(stored: StepTuple[], said: readonly Said[], maxSteps: number): StepTuple[] {
  // By far the commonest: one delta of a short run, its steps in order.
  const only = stored.length === 0 && said.length === 1 ? said[0]?.delta.s : undefined
  if (only !== undefined && inOrder(only)) return only.slice(0, maxSteps).map(canonicalStep)

  const byId = new Map<StepId, StepTuple>()
  for (const step of stored) byId.set(step[0], step)
  for (const { delta } of said) {
    for (const tuple of delta.s ?? []) {
      const step = canonicalStep(tuple)
      const known = byId.get(step[0])
      if (known === undefined || compareVersions(step, known) > 0) byId.set(step[0], step)
    }
  }
  const steps = [...byId.values()]
  if (!inOrder(steps)) steps.sort((a, b) => compareStepIds(a[0], b[0]))
  return steps.length > maxSteps ? steps.slice(0, maxSteps) : steps
}

function inOrder(steps: readonly StepTuple[]): boolean {
  for (let i = 1; i < steps.length; i++) {
    if (compareStepIds((steps[i - 1] as StepTuple)[0], (steps[i] as StepTuple)[0]) >= 0) return false
  }
  return true
}

/** Whether a step has ended. */
export const isCompleted = (step: StepTuple): boolean => step[3] !== undefined && step[3] !== null

/** Open gives way to completed, that to corrected; of equals the greater canonical JSON counts. */
function compareVersions(a: StepTuple, b: StepTuple): number {
  if (isSameStep(a, b)) return 0
  const rank = (step: StepTuple): number => (isCompleted(step) ? 1 + (step[8] ?? 0) : 0)
  return rank(a) - rank(b) || compareNullable(canonicalJson(a as never), canonicalJson(b as never))
}

/** Whether two canonical steps say the same. Every checkpoint asks for each step that is stored: canonical JSON would take 50 times as long. */
export function isSameStep(a: StepTuple, b: StepTuple): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue
    // Only attributes are more than a plain value.
    if (typeof a[i] !== 'object' || typeof b[i] !== 'object') return false
    return JSON.stringify(a) === JSON.stringify(b) || canonicalJson(a as never) === canonicalJson(b as never)
  }
  return true
}

const STEP_DEFAULTS = [undefined, undefined, null, null, 0, null, null, null, 0] as const

/** The step without the defaults at its end, and with the others spelled one way: equal steps are equal arrays. */
export function canonicalStep(step: StepTuple): StepTuple {
  let length = step.length
  while (length > 2 && (step[length - 1] ?? STEP_DEFAULTS[length - 1]) === STEP_DEFAULTS[length - 1])
    length -= 1
  let changed = length !== step.length
  for (let i = 2; i < length && !changed; i++)
    changed = (step[i] ?? null) === null && step[i] !== STEP_DEFAULTS[i]
  if (!changed) return step
  return Array.from({ length }, (_, i) => step[i] ?? STEP_DEFAULTS[i]) as StepTuple
}

/** What a producer's steps, as they are there, account for. */
export function countSteps(steps: readonly StepTuple[]): Record<string, Expected> {
  const counts = byProducer()
  for (const step of steps) {
    const producer = producerOfStep(step[0])
    counts[producer] ??= [0, 0]
    const pair = counts[producer]
    pair[0] += 1
    if (isCompleted(step)) pair[1] += 1
  }
  return counts
}

/** What follows from the state: status, error message, missing steps. */
export function derive(state: TraceState): Derived {
  const status = state.end?.status ?? 'running'
  const given = state.end?.errorMessage ?? null
  const errorMessage = given ?? (status === 'failed' ? lastFailure(state.steps) : null)
  return {
    status,
    errorMessage,
    errorIsDerived: given === null && errorMessage !== null,
    missingSteps: countMissing(state),
  }
}

function lastFailure(steps: readonly StepTuple[]): string | null {
  let last: StepTuple | undefined
  const endOf = (step: StepTuple): number => (step[2] ?? 0) + (step[3] ?? 0)
  for (const step of steps) {
    if (step[5] && (step[4] ?? 0) !== 0 && (last === undefined || endOf(step) >= endOf(last))) last = step
  }
  return last?.[5] ?? null
}

/** Per producer: how many steps it started or completed beyond what is there. */
function countMissing({ steps, expected }: TraceState): number {
  const producers = Object.keys(expected)
  if (producers.length === 0) return 0
  const counts = countSteps(steps)
  let missing = 0
  for (const producer of producers) {
    const [started, completed] = expected[producer] as Expected
    const [hasStarted, hasCompleted] = counts[producer] ?? [0, 0]
    missing += Math.max(started - hasStarted, completed - hasCompleted, 0)
  }
  return missing
}

/** The step that a running or timed-out trace hangs in: of the open ones the one that started last. */
export function openStep(state: { steps: readonly StepTuple[] }): StepTuple | undefined {
  let latest: StepTuple | undefined
  for (const step of state.steps) {
    if (!isCompleted(step) && (latest === undefined || (step[2] ?? 0) >= (latest[2] ?? 0))) latest = step
  }
  return latest
}
