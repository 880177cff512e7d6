import { MAX_STEPS, type Step, type StepId, type StepStatus } from '@stepwell/protocol'

/** Steps that a trace holds open at once: as many as a worker keeps. */
const OPEN_STEPS_MAX = MAX_STEPS

/** A step as it is recorded, but for its times. */
export interface RecordedStep {
  readonly id: StepId
  readonly name: string
  readonly parentId?: StepId | undefined
  /** JSON text. */
  attributes?: string | undefined
}

/** How a step ended. */
export interface StepEnd {
  /** Milliseconds, to the microsecond. */
  readonly durationMs: number
  readonly status: StepStatus
  /** Without secrets, and bounded. */
  readonly errorMessage?: string | undefined
}

/** A completed step that waits to be written: of a trace of which it is not known yet which it is. */
export interface DeferredStep extends RecordedStep, StepEnd {
  readonly startedAtMs: number | null
}

/** A step that has started and not ended. */
export interface OpenStep extends RecordedStep {
  /** Milliseconds since 1970, with fraction; null if unknown. */
  readonly startedAtMs: number | null
  /** Monotonic clock at its start; undefined where the start was given. */
  readonly startedPerfMs: number | undefined
  /** Once it has ended: by its handle or by its name, whichever came first. */
  end: StepEnd | undefined
  /** What it became, for those who asked. */
  asEnded: Step | undefined
  /** Its neighbours in `OpenSteps`. */
  before: OpenStep | undefined
  after: OpenStep | undefined
  beforeOfName: OpenStep | undefined
  afterOfName: OpenStep | undefined
  isListed: boolean
}

/**
 * The open steps of one trace, in the order of their starts; with 10,000 of them each call costs what it costs with one. A list rather
 * than maps: most traces have few, and many traces are open at once. The index of names is made when it is first asked.
 */
export class OpenSteps {
  size = 0
  #first: OpenStep | undefined
  #last: OpenStep | undefined
  #firstUntold: OpenStep | undefined
  #lastOfName: Map<string, OpenStep> | undefined;

  *[Symbol.iterator](): Generator<OpenStep> {
    for (let step = this.#first; step !== undefined; step = step.after) yield step
  }

  add(step: OpenStep): void {
    step.isListed = true
    step.before = this.#last
    if (this.#last === undefined) this.#first = step
    else this.#last.after = step
    this.#last = step
    this.#firstUntold ??= step
    this.size += 1
    if (this.#lastOfName !== undefined) this.#index(this.#lastOfName, step)
    // The oldest is let go: its handle may end it still; else it stays open, or missing, for all who look.
    if (this.size > OPEN_STEPS_MAX) this.delete(this.#first as OpenStep)
  }

  /** Idempotent. */
  delete(step: OpenStep): void {
    if (!step.isListed) return
    const { before, after, beforeOfName, afterOfName } = step
    // Whoever holds the handle of one that has ended holds no others by it.
    step.isListed = false
    step.before = step.after = step.beforeOfName = step.afterOfName = undefined
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    if (this.#firstUntold === step) this.#firstUntold = after
    this.size -= 1
    if (this.#lastOfName === undefined) return
    if (beforeOfName !== undefined) beforeOfName.afterOfName = afterOfName
    if (afterOfName !== undefined) afterOfName.beforeOfName = beforeOfName
    else if (beforeOfName !== undefined) this.#lastOfName.set(step.name, beforeOfName)
    else this.#lastOfName.delete(step.name)
  }

  /** Of the steps of this name the one that started last. */
  lastOf(name: string): OpenStep | undefined {
    if (this.#lastOfName === undefined) {
      this.#lastOfName = new Map()
      for (const step of this) this.#index(this.#lastOfName, step)
    }
    return this.#lastOfName.get(name)
  }

  /** The oldest one that nobody was told of yet. */
  get firstUntold(): OpenStep | undefined {
    return this.#firstUntold
  }

  /** That one is told of now. */
  tellFirst(): void {
    this.#firstUntold = this.#firstUntold?.after
  }

  #index(lastOfName: Map<string, OpenStep>, step: OpenStep): void {
    step.beforeOfName = lastOfName.get(step.name)
    if (step.beforeOfName !== undefined) step.beforeOfName.afterOfName = step
    lastOfName.set(step.name, step)
  }
}
