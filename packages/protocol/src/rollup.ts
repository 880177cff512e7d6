import { ByteReader, ByteWriter } from './bytes.ts'
import type { RollupSource, RollupTextWriter } from './rollup-text.ts'
import { RunRollup } from './run-rollup.ts'
import { StoredSteps } from './stored-steps.ts'
import { STEP_STATUSES, type TraceStatus } from './trace.ts'

/** What the steps of one name came to. */
export class StepRollup {
  readonly name: string
  readonly runs = new RunRollup()
  /** Traces that have such a step. */
  traces = 0
  /** Traces that failed or timed out, and in which such a step failed, timed out, or was left open. */
  failedTraces = 0
  /** Parts of its time in which there were any, each once; none where nobody said. */
  readonly parts: number[] = []
  /** Numbers of the last traces that were counted in these, so that a trace that has the name more than once counts once. */
  countedTrace = 0
  countedFailure = 0

  constructor(name: string) {
    this.name = name
  }

  /** Notes that there is one in this part. The same part comes at once or never again. */
  note(part: number | undefined): void {
    if (part !== undefined && this.parts.at(-1) !== part) this.parts.push(part)
  }

  merge(other: StepRollup): void {
    this.runs.merge(other.runs)
    this.traces += other.traces
    this.failedTraces += other.failedTraces
    for (const part of other.parts) this.note(part)
  }
}

/** As much of a trace as statistics need. */
export interface CountedTrace {
  status: TraceStatus
  /** Null while it runs, or where nobody said. */
  durationMs: number | null
  /** Its steps, as the JSON text that is stored. */
  steps: string
  /** The part of the rollup's time that it started in, where that is to be noted. Parts come one after the other. */
  part?: number | undefined
}

/** Names of steps that are told apart; what comes beyond counts as OTHER_STEPS. */
export const STEP_NAMES_MAX = 1_000
/** Stands for the steps beyond. No name has this character: Postgres keeps none. */
export const OTHER_STEPS = '\0'

/**
 * What many traces of one skill came to, and their steps. Rollups of parts merge into that of the whole, in any order; only with more
 * than STEP_NAMES_MAX names of steps it depends on the order which of them are told apart.
 */
export class Rollup {
  readonly runs = new RunRollup()
  readonly steps = new Map<string, StepRollup>()
  #added = 0
  /** Of the last trace, in order: those of the next one mostly have the same names. */
  readonly #last: StepRollup[] = []

  /** Throws SyntaxError where the steps are no JSON. */
  add({ status, durationMs, steps: text, part }: CountedTrace): void {
    this.runs.add(status, durationMs)
    const number = ++this.#added
    const hasFailed = status === 'failed' || status === 'timeout'
    const last = this.#last
    stored.read(text, last)
    for (let i = 0; i < stored.count; i++) {
      const name = stored.names[i] as string
      const ms = stored.durations[i] as number | null
      const likely = last[i]
      const step = likely?.name === name ? likely : this.#step(name)
      last[i] = step
      if (step.countedTrace !== number) {
        step.traces += 1
        step.note(part)
      }
      step.countedTrace = number
      const outcome = ms === null ? 'running' : (STEP_STATUSES[stored.statuses[i] as number] ?? 'failed')
      step.runs.add(outcome, ms)
      if (!hasFailed || outcome === 'success' || step.countedFailure === number) continue
      step.countedFailure = number
      step.failedTraces += 1
    }
  }

  merge(other: Rollup): void {
    this.runs.merge(other.runs)
    for (const [name, step] of other.steps) this.#step(name).merge(step)
  }

  /** Its steps as bytes, by name: equal steps give equal bytes. */
  encodeSteps(): Uint8Array {
    const writer = new ByteWriter()
    this.writeSteps(writer)
    return writer.bytes()
  }

  /** Writes its steps, by name. */
  writeSteps(writer: ByteWriter | RollupTextWriter): void {
    writer.number(this.steps.size)
    for (const name of [...this.steps.keys()].sort()) {
      const { runs, traces, failedTraces } = this.steps.get(name) as StepRollup
      writer.text(name)
      writer.number(traces)
      writer.number(failedTraces)
      runs.encode(writer)
    }
  }

  /** Adds steps that `encodeSteps` gave, and that they are of this part of its time. */
  addEncodedSteps(bytes: Uint8Array, part?: number): void {
    this.addSteps(new ByteReader(bytes), part)
  }

  /** Adds steps that `writeSteps` wrote. */
  addSteps(reader: RollupSource, part?: number): void {
    for (let left = reader.number(); left > 0; left--) {
      const step = this.#step(reader.text())
      step.traces += reader.number()
      step.failedTraces += reader.number()
      step.runs.addEncoded(reader)
      step.note(part)
    }
  }

  #step(name: string): StepRollup {
    const known = this.steps.get(name)
    if (known !== undefined) return known
    if (this.steps.size >= STEP_NAMES_MAX && name !== OTHER_STEPS) return this.#step(OTHER_STEPS)
    const made = new StepRollup(name)
    this.steps.set(name, made)
    return made
  }
}

/** Filled with the steps of one trace after the other. */
const stored = new StoredSteps()
