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
 * Something that is commoner, or takes longer, among failing runs than among good ones:
 * `skill`: runs of this skill; `metadata`: `path` having `value`; `step`: runs with a step of this name.
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
  | { kind: 'metadata'; path: string[]; value: Json }
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
/** Members of metadata that are looked at in a run, and how deep. */
const LEAVES_MAX = 200
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

type Property =
  | { kind: 'skill'; skillName: string }
  | { kind: 'metadata'; path: string[]; value: Json }
  | { kind: 'step'; stepName: string }

function* shareTests(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Test> {
  const seen = new Map<string, { property: Property; failing: number; good: number }>()
  for (const side of ['failing', 'good'] as const) {
    for (const run of side === 'failing' ? failing : good) {
      for (const [key, property] of propertiesOf(run)) {
        const known = seen.get(key) ?? { property, failing: 0, good: 0 }
        known[side] += 1
        seen.set(key, known)
      }
    }
  }
  const runs = failing.length + good.length
  for (const { property, ...counts } of seen.values()) {
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

function propertiesOf({ skillName, metadata, steps }: RunFacts): Map<string, Property> {
  const properties = new Map<string, Property>([[`skill ${skillName}`, { kind: 'skill', skillName }]])
  for (const { name } of steps) properties.set(`step ${name}`, { kind: 'step', stepName: name })
  for (const { path, value } of leavesOf(metadata)) {
    const text = JSON.stringify(value)
    if (text.length <= VALUE_MAX_LENGTH)
      properties.set(`metadata ${JSON.stringify(path)} ${text}`, { kind: 'metadata', path, value })
  }
  return properties
}

function leavesOf(metadata: JsonObject): { path: string[]; value: Json }[] {
  const leaves: { path: string[]; value: Json }[] = []
  const walk = (object: JsonObject, path: string[]): void => {
    for (const [key, value] of Object.entries(object)) {
      if (leaves.length >= LEAVES_MAX) return
      const here = [...path, key]
      if (typeof value !== 'object' || value === null) leaves.push({ path: here, value })
      else if (!Array.isArray(value) && here.length < DEPTH_MAX) walk(value, here)
    }
  }
  walk(metadata, [])
  return leaves
}

type Measure = { kind: 'step_duration'; stepName: string } | { kind: 'metadata_number'; path: string[] }

function* numberTests(failing: readonly RunFacts[], good: readonly RunFacts[]): Generator<Test> {
  const seen = new Map<string, { measure: Measure; failing: number[]; good: number[] }>()
  for (const side of ['failing', 'good'] as const) {
    for (const run of side === 'failing' ? failing : good) {
      for (const [key, { measure, value }] of measuresOf(run)) {
        const known = seen.get(key) ?? { measure, failing: [], good: [] }
        known[side].push(value)
        seen.set(key, known)
      }
    }
  }
  for (const { measure, failing: inFailing, good: inGood } of seen.values()) {
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

/** Of a step that ran several times the sum. */
function measuresOf({ metadata, steps }: RunFacts): Map<string, { measure: Measure; value: number }> {
  const measures = new Map<string, { measure: Measure; value: number }>()
  for (const { name, durationMs } of steps) {
    if (durationMs === undefined) continue
    const key = `step ${name}`
    const value = (measures.get(key)?.value ?? 0) + durationMs
    measures.set(key, { measure: { kind: 'step_duration', stepName: name }, value })
  }
  for (const { path, value } of leavesOf(metadata)) {
    if (typeof value === 'number')
      measures.set(`metadata ${JSON.stringify(path)}`, { measure: { kind: 'metadata_number', path }, value })
  }
  return measures
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
}
