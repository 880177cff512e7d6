import type { Json } from '@stepwell/protocol'
import { mannWhitney } from './mann-whitney.ts'
import { RunCounts, type RunFacts } from './run-counts.ts'
import { fisherExact, holm, type Share } from './significance.ts'

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
  const counts = new RunCounts()
  for (const run of failing) counts.add(run, 'failing')
  for (const run of good) counts.add(run, 'good')
  const tests = [...shareTests(counts, failing.length, good.length), ...numberTests(counts)]
  const corrected = holm(tests.map(({ p }) => p))
  const findings = tests
    .flatMap(({ find }, i) => {
      const pValue = corrected[i] as number
      return pValue <= rate ? [{ ...find(), pValue }] : []
    })
    .sort((a, b) => a.pValue - b.pValue || strength(b) - strength(a))
  return { failingCount: failing.length, goodCount: good.length, findings, testCount: tests.length }
}

const strength = (one: FailureFinding | NumberFinding): number =>
  'lift' in one ? one.lift : Math.abs(one.superiority - 0.5)

type WithoutP<T> = T extends unknown ? Omit<T, 'pValue'> : never
interface Test {
  p: number
  /** Made only of what is one: of a hundred tests few are. */
  find: () => WithoutP<FailureFinding | NumberFinding>
}

function* shareTests(counts: RunCounts, failing: number, good: number): Generator<Test> {
  for (const one of counts.properties()) {
    const having = one.failing + one.good
    // Chosen by how common it is in all, which says nothing about the sides: the correction may leave out the rest.
    if (having < SUPPORT_MIN || having === failing + good) continue
    const inFailing: Share = { count: one.failing, of: failing }
    const inGood: Share = { count: one.good, of: good }
    const lift = one.failing / inFailing.of / (one.good / inGood.of)
    yield {
      p: fisherExact(inFailing, inGood),
      find: () => ({ ...one.property, failing: inFailing, good: inGood, lift }),
    }
  }
}

function* numberTests(counts: RunCounts): Generator<Test> {
  for (const { measure, failing, good } of counts.numbers()) {
    if (failing.length < NUMBERS_MIN || good.length < NUMBERS_MIN) continue
    const { p, superiority } = mannWhitney(failing, good)
    yield {
      p,
      find: () => ({
        ...measure,
        failing: { median: median(failing), of: failing.length },
        good: { median: median(good), of: good.length },
        superiority,
      }),
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = new Float64Array(values).sort()
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
}
