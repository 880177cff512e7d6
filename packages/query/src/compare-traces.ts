import {
  canonicalJson,
  type Json,
  type JsonObject,
  type Step,
  type StepId,
  type StepStatus,
  type Trace,
  type TraceSummary,
} from '@stepwell/protocol'

/** One of two runs of a step. */
export interface StepRun {
  id: StepId
  /** Milliseconds from the start of its trace. Absent where unknown. */
  startMs?: number
  /** Milliseconds. Absent while it runs. */
  durationMs?: number
  status: StepStatus | 'running'
  errorMessage?: string
}

/** A step that ran in one or both of two traces. */
export interface ComparedStep {
  /** The names of the steps that it ran in, outermost first (of more than 32 the innermost), and its own. */
  path: string[]
  /** The how manieth of its name in the step that it ran in, from 1. */
  occurrence: number
  /** `missing`: b does not have it; `added`: only b has it; `status`: it ended otherwise; `same`: it ended alike. */
  change: 'same' | 'status' | 'missing' | 'added'
  a?: StepRun
  b?: StepRun
  /** How much longer it took in b, milliseconds; negative: shorter. Where both durations are known. */
  durationChangeMs?: number
}

/** A member of the metadata, nested ones too, that differs. Absent on the side that does not have it. */
export interface MetadataDifference {
  path: string[]
  a?: Json
  b?: Json
}

/** What differs between two traces. */
export interface TraceComparison {
  a: TraceSummary
  b: TraceSummary
  /** In the order of a, those that only b has behind the one before them there; at most `limit`. */
  steps: ComparedStep[]
  /** Whether there are more. The numbers below count all. */
  stepsTruncated: boolean
  sameCount: number
  statusCount: number
  missingCount: number
  addedCount: number
  /** The first step that is missing, added, or ended otherwise; of one that ended otherwise the first such step inside it. */
  firstDivergence?: ComparedStep
  metadata: MetadataDifference[]
}

const PATH_MAX = 32

/** A place in the tree of steps: the n-th of its name in another place. Both traces' steps lie in the same places. */
interface Place {
  /** Stands for it in keys: a path of names would make them as long as steps nest deep. */
  number: number
  parent: Place | undefined
  name: string
  occurrence: number
  a?: Step
  b?: Step
}

/**
 * Compares two traces. Steps are the same if they have the same name, are the same how manieth of that name, and ran in steps that
 * are the same. Pure; costs time and memory linear in the steps, however deep they nest.
 */
export function compareTraces(a: Trace, b: Trace, limit = 1_000): TraceComparison {
  const places = new Map<string, Place>()
  const placesOfA = placesOf(a, 'a', places)
  const placesOfB = placesOf(b, 'b', places)
  const all = inOneOrder(placesOfA, placesOfB).map((place) => ({ place, step: compared(place, a, b) }))
  const count = (change: ComparedStep['change']): number =>
    all.filter(({ step }) => step.change === change).length
  const first = firstDivergence(all)
  return {
    a: summaryOf(a),
    b: summaryOf(b),
    steps: all.slice(0, limit).map(({ step }) => step),
    stepsTruncated: all.length > limit,
    sameCount: count('same'),
    statusCount: count('status'),
    missingCount: count('missing'),
    addedCount: count('added'),
    ...(first === undefined ? {} : { firstDivergence: first }),
    metadata: differences(a.metadata, b.metadata),
  }
}

function summaryOf({ steps: _, ...summary }: Trace): TraceSummary {
  return summary
}

/** Puts the steps of one trace into their places; returns these in the order in which the steps started. */
function placesOf(trace: Trace, side: 'a' | 'b', places: Map<string, Place>): Place[] {
  const order = inOrderOfStart(trace.steps)
  const ids = new Set(order.map(({ id }) => id))
  const inside = new Map<StepId, Step[]>()
  for (const step of order) {
    if (step.parentId === undefined) continue
    const list = inside.get(step.parentId)
    if (list === undefined) inside.set(step.parentId, [step])
    else list.push(step)
  }
  const found = new Map<StepId, Place>()
  const taken = new Map<string, number>()
  const put = (step: Step, parent: Place | undefined): void => {
    const kind = `${parent?.number ?? 0}/${step.name}`
    const occurrence = (taken.get(kind) ?? 0) + 1
    taken.set(kind, occurrence)
    const key = `${kind}/${occurrence}`
    const place = places.get(key) ?? { number: places.size + 1, parent, name: step.name, occurrence }
    places.set(key, place)
    place[side] = step
    found.set(step.id, place)
  }
  const putAll = (tops: readonly Step[]): void => {
    for (const step of tops) put(step, undefined)
    // From the outside to the inside: a step has its place before those that ran in it, whenever these started.
    const steps = [...tops]
    for (let i = 0; i < steps.length; i++) {
      const outer = steps[i] as Step
      for (const step of inside.get(outer.id) ?? []) {
        if (found.has(step.id)) continue
        put(step, found.get(outer.id))
        steps.push(step)
      }
    }
  }
  putAll(order.filter(({ parentId }) => parentId === undefined || !ids.has(parentId)))
  // What leads back to itself is at the top.
  for (const step of order) if (!found.has(step.id)) putAll([step])
  return order.map((step) => found.get(step.id) as Place)
}

/** By start where all are known, else as they stand. */
function inOrderOfStart(steps: readonly Step[]): readonly Step[] {
  if (steps.some(({ timestamp }) => timestamp === undefined)) return steps
  return steps.toSorted((x, y) => Number(x.timestamp) - Number(y.timestamp))
}

/** The places of a, and each that only b has behind the one before it in b. */
function inOneOrder(placesOfA: readonly Place[], placesOfB: readonly Place[]): Place[] {
  const behind = new Map<Place | undefined, Place[]>()
  let before: Place | undefined
  for (const place of placesOfB) {
    if (place.a !== undefined) before = place
    else {
      const list = behind.get(before)
      if (list === undefined) behind.set(before, [place])
      else list.push(place)
    }
  }
  return [
    ...(behind.get(undefined) ?? []),
    ...placesOfA.flatMap((place) => [place, ...(behind.get(place) ?? [])]),
  ]
}

function compared({ parent, name, occurrence, a, b }: Place, traceA: Trace, traceB: Trace): ComparedStep {
  const path = [name]
  for (let at = parent; at !== undefined && path.length < PATH_MAX; at = at.parent) path.push(at.name)
  const step: ComparedStep = {
    path: path.reverse(),
    occurrence,
    change:
      b === undefined ? 'missing' : a === undefined ? 'added' : a.status === b.status ? 'same' : 'status',
  }
  if (a !== undefined) step.a = runOf(a, traceA)
  if (b !== undefined) step.b = runOf(b, traceB)
  if (a?.durationMs !== undefined && b?.durationMs !== undefined)
    step.durationChangeMs = Math.round((b.durationMs - a.durationMs) * 1_000) / 1_000
  return step
}

function runOf({ id, timestamp, durationMs, status, errorMessage }: Step, { startedAt }: Trace): StepRun {
  const run: StepRun = { id, status }
  if (timestamp !== undefined) run.startMs = timestamp.getTime() - startedAt.getTime()
  if (durationMs !== undefined) run.durationMs = durationMs
  if (errorMessage !== undefined) run.errorMessage = errorMessage
  return run
}

function firstDivergence(all: readonly { place: Place; step: ComparedStep }[]): ComparedStep | undefined {
  const different = all.filter(({ step }) => step.change !== 'same')
  const inside = new Map<Place, { place: Place; step: ComparedStep }>()
  for (const one of different)
    if (one.place.parent !== undefined && !inside.has(one.place.parent)) inside.set(one.place.parent, one)
  let first = different[0]
  // A step that failed fails those that it ran in: the reason is the innermost.
  while (first?.step.change === 'status') {
    const inner = inside.get(first.place)
    if (inner === undefined) break
    first = inner
  }
  return first?.step
}

/** The leaves of both objects that are not equal, by path. A list is a leaf. */
function differences(a: JsonObject, b: JsonObject, path: readonly string[] = []): MetadataDifference[] {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  return keys.flatMap((key) => {
    const [inA, inB] = [Object.hasOwn(a, key), Object.hasOwn(b, key)]
    const here = [...path, key]
    if (inA && inB && isObject(a[key]) && isObject(b[key])) return differences(a[key], b[key], here)
    if (inA && inB && sameJson(a[key] as Json, b[key] as Json)) return []
    const difference: MetadataDifference = { path: here }
    if (inA) difference.a = a[key] as Json
    if (inB) difference.b = b[key] as Json
    return [difference]
  })
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const sameJson = (a: Json, b: Json): boolean => canonicalJson(a) === canonicalJson(b)
