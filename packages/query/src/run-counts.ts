import type { Json, JsonObject } from '@stepwell/protocol'

/** What of a run may explain that it failed. */
export interface RunFacts {
  skillName: string
  metadata: JsonObject
  steps: readonly { name: string; durationMs?: number | undefined }[]
}

/** Something that runs have or have not. */
export type Property =
  | { kind: 'skill'; skillName: string }
  | { kind: 'metadata' | 'metadata_member'; path: string[]; value: Json }
  | { kind: 'step'; stepName: string }

/** How many runs of a side have something. */
export interface Having {
  property: Property
  failing: number
  good: number
}

/** A number that runs have. */
export type Measure =
  | { kind: 'step_duration'; stepName: string }
  | { kind: 'metadata_number'; path: string[] }

/** All numbers of the runs, of a step that ran several times in a run the sum. */
export interface Measured {
  measure: Measure
  failing: number[]
  good: number[]
}

/** Longer values are texts, not properties; so long ones are not even with an escape for each unit. */
const VALUE_MAX_LENGTH = 200
const SHORT_LENGTH = 33
/** Members of metadata that are looked at in a run, as many again in its lists, the first of each; and how deep. */
const LEAVES_MAX = 200
const LIST_MAX = 50
const DEPTH_MAX = 8

/** The last run that was counted: it has a property once, however often a step ran or a list names it. */
type Counted = Having & { run: RunFacts | undefined }
type Timed = Measured & { run: RunFacts | undefined }

interface StepSeen extends Counted {
  timed: Timed | undefined
}

/** A place in the metadata, with what was found there. */
interface Place {
  path: string[]
  members: Map<string, Place>
  values: Map<Json, Counted> | undefined
  listed: Map<Json, Counted> | undefined
  numbers: Measured | undefined
}

/**
 * Counts what runs have, and gathers their numbers, one run after the other. By what they are as they stand: with a text made of each, to be looked up,
 * all of it took three times as long; a place in the metadata is found from the one that it lies in, without its path being made for each run.
 */
export class RunCounts {
  readonly #skills = new Map<string, Counted>()
  readonly #steps = new Map<string, StepSeen>()
  readonly #root = placeAt([])
  /** In the order in which they came first. */
  readonly #durations: Timed[] = []
  readonly #values: ReadonlyMap<Json, Counted>[] = []
  readonly #listed: ReadonlyMap<Json, Counted>[] = []
  readonly #numbers: Measured[] = []
  /** Of the run that is looked at. */
  #leaves = 0
  #inLists = 0

  /** Adds a run. Costs time linear in what it says. */
  add(run: RunFacts, side: 'failing' | 'good'): void {
    const { skillName } = run
    let skill = this.#skills.get(skillName)
    if (skill === undefined) {
      skill = nobody({ kind: 'skill', skillName })
      this.#skills.set(skillName, skill)
    }
    count(skill, run, side)
    for (const { name, durationMs } of run.steps) {
      let step = this.#steps.get(name)
      if (step === undefined) {
        step = { ...nobody({ kind: 'step', stepName: name }), timed: undefined }
        this.#steps.set(name, step)
      }
      count(step, run, side)
      if (durationMs !== undefined) this.#time(step, name, durationMs, run, side)
    }
    this.#leaves = 0
    this.#inLists = 0
    this.#walk(run.metadata, this.#root, run, side)
  }

  #time(step: StepSeen, stepName: string, ms: number, run: RunFacts, side: 'failing' | 'good'): void {
    if (step.timed === undefined) {
      step.timed = { ...unmeasured({ kind: 'step_duration', stepName }), run: undefined }
      this.#durations.push(step.timed)
    }
    const { timed } = step
    if (timed.run === run) timed[side].push((timed[side].pop() as number) + ms)
    else timed[side].push(ms)
    timed.run = run
  }

  #walk(object: JsonObject, place: Place, run: RunFacts, side: 'failing' | 'good'): void {
    for (const name of Object.keys(object)) {
      if (this.#leaves >= LEAVES_MAX) return
      const value = object[name] as Json
      let here = place.members.get(name)
      if (here === undefined) {
        here = placeAt([...place.path, name])
        place.members.set(name, here)
      }
      if (typeof value !== 'object' || value === null) {
        this.#leaves += 1
        this.#countValue(here, value, run, side)
        if (typeof value === 'number') this.#measure(here, value, side)
      } else if (Array.isArray(value)) this.#countListed(here, value, run, side)
      else if (here.path.length < DEPTH_MAX) this.#walk(value, here, run, side)
    }
  }

  #countValue(here: Place, value: Json, run: RunFacts, side: 'failing' | 'good'): void {
    let one = here.values?.get(value)
    if (one === undefined) {
      if (!isShort(value)) return
      if (here.values === undefined) {
        here.values = new Map()
        this.#values.push(here.values)
      }
      one = nobody({ kind: 'metadata', path: here.path, value })
      here.values.set(value, one)
    }
    count(one, run, side)
  }

  /** On their own, so that a long list leaves room for all else, and where it is cut does not depend on what else there is. */
  #countListed(here: Place, list: readonly Json[], run: RunFacts, side: 'failing' | 'good'): void {
    for (const value of list.slice(0, Math.min(LIST_MAX, LEAVES_MAX - this.#inLists))) {
      if (typeof value === 'object' && value !== null) continue
      this.#inLists += 1
      let one = here.listed?.get(value)
      if (one === undefined) {
        if (!isShort(value)) continue
        if (here.listed === undefined) {
          here.listed = new Map()
          this.#listed.push(here.listed)
        }
        one = nobody({ kind: 'metadata_member', path: here.path, value })
        here.listed.set(value, one)
      }
      count(one, run, side)
    }
  }

  #measure(here: Place, value: number, side: 'failing' | 'good'): void {
    if (here.numbers === undefined) {
      here.numbers = unmeasured({ kind: 'metadata_number', path: here.path })
      this.#numbers.push(here.numbers)
    }
    here.numbers[side].push(value)
  }

  /** Skills, steps, values, members of lists; of each kind in the order in which they came first. */
  *properties(): Generator<Having> {
    yield* this.#skills.values()
    yield* this.#steps.values()
    for (const values of this.#values) yield* values.values()
    for (const values of this.#listed) yield* values.values()
  }

  /** Durations of steps, then numbers in the metadata. */
  *numbers(): Generator<Measured> {
    yield* this.#durations
    yield* this.#numbers
  }
}

function count(one: Counted, run: RunFacts, side: 'failing' | 'good'): void {
  if (one.run === run) return
  one[side] += 1
  one.run = run
}

const nobody = (property: Property): Counted => ({ property, failing: 0, good: 0, run: undefined })
const unmeasured = (measure: Measure): Measured => ({ measure, failing: [], good: [] })
const placeAt = (path: string[]): Place => ({
  path,
  members: new Map(),
  values: undefined,
  listed: undefined,
  numbers: undefined,
})

const isShort = (value: Json): boolean =>
  typeof value !== 'string' ||
  value.length <= SHORT_LENGTH ||
  (value.length <= VALUE_MAX_LENGTH && JSON.stringify(value).length <= VALUE_MAX_LENGTH)
