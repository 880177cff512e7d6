/** How many of the latest steps of an open trace can be asked for. */
const RECENT_STEPS = 1_000

/** What the recent steps of all open traces of a tracer take together, and may take. UTF-16 units. */
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
  #texts: string[] = []
  #size = 0

  constructor(budget: RecentBudget) {
    this.#budget = budget
  }

  add(text: string): void {
    const size = text.length + STRING_OVERHEAD
    if (this.#budget.used + size > this.#budget.max) this.clear()
    else if (this.#texts.length >= 2 * RECENT_STEPS) this.#replace(this.latest())
    this.#texts.push(text)
    this.#grow(size)
  }

  /** At most 1,000, oldest first. */
  latest(): string[] {
    return this.#texts.slice(-RECENT_STEPS)
  }

  clear(): void {
    this.#texts = []
    this.#grow(-this.#size)
  }

  #replace(texts: string[]): void {
    this.#texts = texts
    this.#grow(texts.reduce((sum, text) => sum + text.length + STRING_OVERHEAD, 0) - this.#size)
  }

  #grow(size: number): void {
    this.#size += size
    this.#budget.used += size
  }
}

const STRING_OVERHEAD = 32
