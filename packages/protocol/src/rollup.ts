import { ByteReader, ByteWriter } from './bytes.ts'
import type { StepTuple } from './delta.ts'
import { DurationSketch } from './duration-sketch.ts'
import { STEP_STATUSES, type TraceStatus } from './trace.ts'

/** How often something was in each status. */
export type StatusCounts = Record<TraceStatus, number>

/** Durations of something that happened many times: how they are spread, their sum and the longest, to the microsecond. */
export class DurationRollup {
  readonly sketch = new DurationSketch()
  /** Whole microseconds, so that the order of adding does not show. */
  sumUs = 0
  maxUs = 0

  add(ms: number): void {
    const us = Math.round(ms * 1_000)
    this.sketch.add(ms)
    this.sumUs += us
    if (us > this.maxUs) this.maxUs = us
  }

  merge(other: DurationRollup): void {
    this.sketch.merge(other.sketch)
    this.sumUs += other.sumUs
    this.maxUs = Math.max(this.maxUs, other.maxUs)
  }
}

/** What the steps of one name came to. */
export class StepRollup {
  readonly counts: StatusCounts = { running: 0, success: 0, failed: 0, timeout: 0 }
  readonly durations = new DurationRollup()
  /** Traces that have such a step. */
  traces = 0
  /** Traces that failed or timed out, and in which such a step failed, timed out, or was left open. */
  failedTraces = 0
  /** Numbers of the last traces that were counted in these, so that a trace that has the name more than once counts once. */
  countedTrace = 0
  countedFailure = 0

  merge(other: StepRollup): void {
    addCounts(this.counts, other.counts)
    this.durations.merge(other.durations)
    this.traces += other.traces
    this.failedTraces += other.failedTraces
  }
}

/** As much of a trace as statistics need. */
export interface CountedTrace {
  status: TraceStatus
  /** Null while it runs, or where nobody said. */
  durationMs: number | null
  steps: readonly StepTuple[]
}

/** Names of steps that are told apart; what comes beyond counts as OTHER_STEPS. */
export const STEP_NAMES_MAX = 1_000
/** Stands for the steps beyond. No name has this character: Postgres keeps none. */
export const OTHER_STEPS = '\0'

/**
 * What many traces of one skill came to. Rollups of parts merge into that of the whole, in any order; only with more than
 * STEP_NAMES_MAX names of steps it depends on the order which of them are told apart.
 */
export class Rollup {
  readonly counts: StatusCounts = { running: 0, success: 0, failed: 0, timeout: 0 }
  readonly durations = new DurationRollup()
  readonly steps = new Map<string, StepRollup>()
  #added = 0

  add({ status, durationMs, steps }: CountedTrace): void {
    this.counts[status] += 1
    if (durationMs !== null) this.durations.add(durationMs)
    const number = ++this.#added
    const hasFailed = status === 'failed' || status === 'timeout'
    for (const step of steps) {
      const rollup = this.#step(step[1])
      if (rollup.countedTrace !== number) rollup.traces += 1
      rollup.countedTrace = number
      const ms = step[3]
      const outcome = ms === undefined || ms === null ? 'running' : (STEP_STATUSES[step[4] ?? 0] ?? 'failed')
      rollup.counts[outcome] += 1
      if (outcome !== 'running') rollup.durations.add(ms as number)
      if (!hasFailed || outcome === 'success' || rollup.countedFailure === number) continue
      rollup.countedFailure = number
      rollup.failedTraces += 1
    }
  }

  merge(other: Rollup): void {
    addCounts(this.counts, other.counts)
    this.durations.merge(other.durations)
    for (const [name, step] of other.steps) this.#step(name).merge(step)
  }

  /** The sketch of its durations as bytes. */
  encodeDurations(): Uint8Array {
    const writer = new ByteWriter()
    this.durations.sketch.encode(writer)
    return writer.bytes()
  }

  /** Its steps as bytes, by name: equal steps give equal bytes. */
  encodeSteps(): Uint8Array {
    const writer = new ByteWriter()
    writer.number(this.steps.size)
    for (const name of [...this.steps.keys()].sort()) {
      const { counts, durations, traces, failedTraces } = this.steps.get(name) as StepRollup
      writer.text(name)
      for (const value of [
        traces,
        failedTraces,
        counts.running,
        counts.success,
        counts.failed,
        counts.timeout,
      ])
        writer.number(value)
      writer.number(Math.min(durations.sumUs, Number.MAX_SAFE_INTEGER))
      writer.number(Math.min(durations.maxUs, Number.MAX_SAFE_INTEGER))
      durations.sketch.encode(writer)
    }
    return writer.bytes()
  }

  /** Adds steps that `encodeSteps` gave. */
  addEncodedSteps(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes)
    for (let left = reader.number(); left > 0; left--) {
      const step = this.#step(reader.text())
      step.traces += reader.number()
      step.failedTraces += reader.number()
      for (const status of ['running', 'success', 'failed', 'timeout'] as const)
        step.counts[status] += reader.number()
      step.durations.sumUs += reader.number()
      step.durations.maxUs = Math.max(step.durations.maxUs, reader.number())
      step.durations.sketch.addEncoded(reader)
    }
  }

  #step(name: string): StepRollup {
    const known = this.steps.get(name)
    if (known !== undefined) return known
    if (this.steps.size >= STEP_NAMES_MAX && name !== OTHER_STEPS) return this.#step(OTHER_STEPS)
    const made = new StepRollup()
    this.steps.set(name, made)
    return made
  }
}

function addCounts(counts: StatusCounts, more: StatusCounts): void {
  counts.running += more.running
  counts.success += more.success
  counts.failed += more.failed
  counts.timeout += more.timeout
}
