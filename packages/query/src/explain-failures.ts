import type { Json, JsonObject } from '@stepwell/protocol'
import { mannWhitney } from './mann-whitney.ts'
import { fisherExact, holm, type Share } from './significance.ts'

/** What of a run may explain that it failed. */
export interface RunFacts {
  skillName: string
  metadata: JsonObject
  steps: readonly { name: string; durationMs?: number | undefined }[]
}

/**
 * Something that is commoner among failing runs than among good ones: `skill`: runs of this skill; `metadata`: `path` having `value`;
 * `metadata_member`: `value` being in a list at `path`; `step`: runs with a step of this name.
 */
export type FailureFinding = {
  /** Of the failing runs, and of the good ones, how many have it. */
  failing: Share
  good: Share
  /** How many times as common it is among failing runs; Infinity where no good run has it. */
  lift: number
  /** Corrected for all that was looked at: calling findings up to 0.05, even one false one is had in at most 5 of 100 questions. */
  pValue: number
} & (
  | { kind: 'skill'; skillName: string }
  | { kind: 'metadata' | 'metadata_member'; path: string[]; value: Json }
  | { kind: 'step'; stepName: string }
)

/** A number that is greater, or smaller, in failing runs: how long a step took in all, or a member of the metadata. */
export type NumberFinding = {
  /** The middle value among failing runs and among good ones, and how many runs have one. */
  failing: { median: number; of: number }
  good: { median: number; of: number }
  /** How often a failing run has more than a good one, ties counting half: 0.5 is no difference, 1 always. */
  superiority: number
  pValue: number
} & ({ kind: 'step_duration'; stepName: string } | { kind: 'metadata_number'; path: string[] })

/** What sets failing runs apart. */
export interface FailureExplanation {
  failingCount: number
  goodCount: number
  /** Most significant first. */
  findings: (FailureFinding | NumberFinding)[]
  /** How many things were looked at: what `pValue` is corrected for. */
  testCount: number
}

/** Fewer runs than this with a property, failing or good, can prove nothing after correction, and are not looked at. */
const SUPPORT_MIN = 5
/** Values a side that the test of numbers needs. */
const NUMBERS_MIN = 8
/** Longer values are texts, not properties. */
const VALUE_MAX_LENGTH = 200
/** Members of metadata that are looked at in a run, as many again in its lists, the first of each; and how deep. */
const LEAVES_MAX = 200
const LIST_MAX = 50
const DEPTH_MAX = 8

/**
 * What sets failing runs apart from good ones: metadata values, steps and durations, each tested alone (Fisher's exact test; for
 * numbers Mann–Whitney) and corrected for the number of tests (Holm). `rate` bounds the probability of any false finding.
 * Association, not cause: two things that go together are both found. Pure; costs time linear in what the runs say.
 */
export function explainFailures(
  failing: readonly RunFacts[],
  good: readonly RunFacts[],
  rate = 0.05,
): FailureExplanation {
  const tests = [...shareTests(failing, good), ...numberTests(failing, good)]
  const corrected = holm(tests.map(({ p }) => p))
  const findings = tests
    .map(({ finding }, i) => ({ ...finding, pValue: corrected[i] as number }))
    .filter(({ pValue }) => pValue <= rate)
    .sort((a, b) => a.pValue - b.pValue || strength(b) - strength(a))
  return { failingCount: failing.length, goodCount: good.length, findings, testCount: tests.length }
}

const strength = (one: FailureFinding | NumberFinding): number =>
  'lift' in one ? one.lift : Math.abs(one.superiority - 0.5)

type WithoutP<T> = T extends unknown ? Omit<T, 'pValue'> : never
interface Test {
  p: number
  finding: WithoutP<FailureFinding | NumberFinding>
}

/** How many runs of a side have something, and the last that was counted. */
interface Having {
  property: Property
  failing: number
  good: number
  run: RunFacts | undefined
}

type Property =
  | { kind: 'skill'; skillName: string }
  | { kind: 'metadata' | 'metadata_member'; path: string[]; value: Json }
  | { kind: 'step'; stepName: string }

function* shareTests(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Test> {
  const runs = failing.length + good.length
  for (const { property, ...counts } of countProperties(failing, good)) {
    const having = counts.failing + counts.good
    // Chosen by how common it is in all, which says nothing about the sides: the correction may leave out the rest.
    if (having < SUPPORT_MIN || having === runs) continue
    const inFailing: Share = { count: counts.failing, of: failing.length }
    const inGood: Share = { count: counts.good, of: good.length }
    const lift = counts.failing / inFailing.of / (counts.good / inGood.of)
    yield {
      p: fisherExact(inFailing, inGood),
      finding: { ...property, failing: inFailing, good: inGood, lift },
    }
  }
}

// By what they are as they stand: with a text made of each, to be looked up, all of it took three times as long (52 ms for 2,000 runs of 12 steps).
function* countProperties(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Having> {
  const skills = new Map<string, Having>()
  const steps = new Map<string, Having>()
  const values = {
    metadata: new Map<string, Map<Json, Having>>(),
    metadata_member: new Map<string, Map<Json, Having>>(),
  }
  for (const [side, runs] of sidesOf(failing, good)) {
    for (const run of runs) {
      const { skillName } = run
      const skill = at(skills, skillName, () => nobody({ kind: 'skill', skillName }))
      count(skill, run, side)
      for (const { name } of run.steps) {
        const step = at(steps, name, () => nobody({ kind: 'step', stepName: name }))
        count(step, run, side)
      }
      for (const { kind, key, path, value } of leavesOf(run.metadata)) {
        if (!isShort(value)) continue
        const ofPath = at(values[kind], key, () => new Map())
        const one = at(ofPath, value, () => nobody({ kind, path, value }))
        count(one, run, side)
      }
    }
  }
  yield* skills.values()
  yield* steps.values()
  for (const ofKind of Object.values(values)) for (const ofPath of ofKind.values()) yield* ofPath.values()
}

/** A run has it once, however often a step ran or a list names it. */
function count(one: Having, run: RunFacts, side: 'failing' | 'good'): void {
  if (one.run === run) return
  one[side] += 1
  one.run = run
}

const sidesOf = (failing: readonly RunFacts[], good: readonly RunFacts[]) =>
  [
    ['failing', failing],
    ['good', good],
  ] as const

const nobody = (property: Property): Having => ({ property, failing: 0, good: 0, run: undefined })

const isShort = (value: Json): boolean =>
  typeof value !== 'string' ||
  (value.length <= VALUE_MAX_LENGTH && JSON.stringify(value).length <= VALUE_MAX_LENGTH)

/** What a map has at a key; made where there is nothing. */
function at<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

/** What is neither an object nor a list, with its path; `key` is another for another path, for no name that is stored holds a NUL. */
interface Leaf {
  kind: 'metadata' | 'metadata_member'
  key: string
  path: string[]
  value: Json
}

function leavesOf(metadata: JsonObject): Leaf[] {
  const leaves: Leaf[] = []
  // On their own, so that a long one leaves room for all else, and where it is cut does not depend on what else there is.
  const inLists: Leaf[] = []
  const walk = (object: JsonObject, path: string[], prefix: string): void => {
    for (const [name, value] of Object.entries(object)) {
      if (leaves.length >= LEAVES_MAX) return
      const key = path.length === 0 ? name : `${prefix}\0${name}`
      const here = [...path, name]
      if (typeof value !== 'object' || value === null)
        leaves.push({ kind: 'metadata', key, path: here, value })
      else if (Array.isArray(value)) {
        for (const one of value.slice(0, Math.min(LIST_MAX, LEAVES_MAX - inLists.length)))
          if (typeof one !== 'object' || one === null)
            inLists.push({ kind: 'metadata_member', key, path: here, value: one })
      } else if (here.length < DEPTH_MAX) walk(value, here, key)
    }
  }
  walk(metadata, [], '')
  return [...leaves, ...inLists]
}

type Measure = { kind: 'step_duration'; stepName: string } | { kind: 'metadata_number'; path: string[] }

interface Measured {
  measure: Measure
  failing: number[]
  good: number[]
}

function* numberTests(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Test> {
  for (const { measure, failing: inFailing, good: inGood } of measureRuns(failing, good)) {
    if (inFailing.length < NUMBERS_MIN || inGood.length < NUMBERS_MIN) continue
    const { p, superiority } = mannWhitney(inFailing, inGood)
    yield {
      p,
      finding: {
        ...measure,
        failing: { median: median(inFailing), of: inFailing.length },
        good: { median: median(inGood), of: inGood.length },
        superiority,
      },
    }
  }
}

/** All numbers of the runs, of a step that ran several times in a run the sum. */
function* measureRuns(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Measured> {
  const steps = new Map<string, Measured & { run: RunFacts | undefined }>()
  const members = new Map<string, Measured>()
  for (const [side, runs] of sidesOf(failing, good)) {
    for (const run of runs) {
      for (const { name, durationMs } of run.steps) {
        if (durationMs === undefined) continue
        const step = at(steps, name, () => ({
          measure: { kind: 'step_duration' as const, stepName: name },
          failing: [],
          good: [],
          run: undefined,
        }))
        if (step.run === run) step[side].push((step[side].pop() as number) + durationMs)
        else step[side].push(durationMs)
        step.run = run
      }
      for (const { kind, key, path, value } of leavesOf(run.metadata)) {
        if (kind === 'metadata' && typeof value === 'number')
          at(members, key, () => ({
            measure: { kind: 'metadata_number' as const, path },
            failing: [],
            good: [],
          }))[side].push(value)
      }
    }
  }
  yield* steps.values()
  yield* members.values()
}

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
}
