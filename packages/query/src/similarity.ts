/**
 * Jaccard similarity (Jaccard 1901): |a ∩ b| / |a ∪ b|, from 0 to 1. Two empty sets have nothing in common: 0. The quotient is
 * rounded correctly (IEEE 754), so 3 of 10 is the number that 0.3 is: a threshold is inclusive without further ado.
 */
export function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const [small, large] = a.size <= b.size ? [a, b] : [b, a]
  let common = 0
  for (const word of small) if (large.has(word)) common += 1
  const union = a.size + b.size - common
  return union === 0 ? 0 : common / union
}

/** A distinct message, how similar it is, and when it last occurred (microseconds since 1970, as text of equal length). */
export interface ScoredMessage {
  message: string
  similarity: number
  newestUs: number
}

/**
 * Of many messages those that the `limit` best traces can come from, best first: more similar, then newer. Messages level with
 * the last one stay too: between them the traces decide.
 */
export class BestMessages {
  readonly #limit: number
  #kept: ScoredMessage[] = []
  #sortAt: number

  constructor(limit: number) {
    this.#limit = limit
    this.#sortAt = 4 * limit + 1_000
  }

  add(message: ScoredMessage): void {
    this.#kept.push(message)
    if (this.#kept.length < this.#sortAt) return
    this.#kept = this.list()
    // Where many are level, as after an import, few or none fall off: not before there are twice as many.
    this.#sortAt = Math.max(this.#sortAt, 2 * this.#kept.length)
  }

  list(): ScoredMessage[] {
    const sorted = this.#kept.toSorted((a, b) => b.similarity - a.similarity || b.newestUs - a.newestUs)
    const last = sorted[this.#limit - 1]
    if (last === undefined) return sorted
    return sorted.filter(
      (each, i) =>
        i < this.#limit || (each.similarity === last.similarity && each.newestUs === last.newestUs),
    )
  }
}
