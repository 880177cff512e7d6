import type { StepTuple } from '@stepwell/protocol'
import type { Stretch } from './stretch.ts'

/** How many of the latest steps of an open trace can be asked for. */
const RECENT_STEPS = 1_000

/** What the recent steps of all open traces of a tracer take together, and may take. Bytes. */
export interface RecentBudget {
  used: number
  readonly max: number
}

/**
 * The latest completed steps of an open trace, as they travel, for `getCurrentTrace()`. When those of all traces take too much,
 * the trace that grows keeps only its very latest.
 */
export class RecentSteps {
  readonly #budget: RecentBudget
  #stretches: Stretch[] = []
  #steps = 0
  #size = 0

  constructor(budget: RecentBudget) {
    this.#budget = budget
  }

  add(stretch: Stretch): void {
    if (this.#budget.used + sizeOf(stretch) > this.#budget.max) this.clear()
    this.#stretches.push(stretch)
    stretch.isRemembered = true
    this.#grow(stretch.steps, sizeOf(stretch))
    for (let first = this.#stretches[0] as Stretch; this.#steps - first.steps >= RECENT_STEPS; ) {
      this.#stretches.shift()
      first.isRemembered = false
      this.#grow(-first.steps, -sizeOf(first))
      first = this.#stretches[0] as Stretch
    }
  }

  /** At most 1,000, oldest first. */
  latest(): StepTuple[] {
    const texts = this.#stretches.map(({ text }) => text)
    return (JSON.parse(`[${texts.join(',')}]`) as StepTuple[]).slice(-RECENT_STEPS)
  }

  clear(): void {
    for (const stretch of this.#stretches) stretch.isRemembered = false
    this.#stretches = []
    this.#grow(-this.#steps, -this.#size)
  }

  #grow(steps: number, size: number): void {
    this.#steps += steps
    this.#size += size
    this.#budget.used += size
  }
}

/** What a stretch takes besides its letters. */
const STRETCH_OVERHEAD = 64

const sizeOf = ({ length }: Stretch): number => length + STRETCH_OVERHEAD
