/** The words of a text: what stands between white space, in lower case, each once. */
export function wordsOf(text: string): Set<string> {
  const words = new Set(text.toLowerCase().split(/\s+/))
  words.delete('')
  return words
}

/** Jaccard similarity of two sets, |intersection| / |union|: 0 to 1. Of two empty sets 0. */
export function similarityOf(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const [fewer, more] = a.size <= b.size ? [a, b] : [b, a]
  let common = 0
  for (const word of fewer) if (more.has(word)) common += 1
  const union = a.size + b.size - common
  return union === 0 ? 0 : common / union
}

// A division is rounded to the nearest double, as a written 0.3 is: 3/10 reaches 0.3 exactly. The tolerance is for
// thresholds that were computed (0.1 + 0.2); fractions of sets of words lie farther apart.
const TOLERANCE = 1e-12

/** A failure's message, how many traces failed with it, and when the newest of them started (milliseconds). */
export interface Candidate {
  message: string
  count: number
  newestMs: number
}

/** A message whose traces are among the most similar. */
export interface Winner {
  message: string
  similarity: number
  /** 0, 1, …: messages of equal similarity share one, a smaller one is more similar. */
  tier: number
  /** How many of the newest traces of the tier are needed. */
  need: number
}

/**
 * Ranks messages by similarity, of equals those with the newer trace first, and keeps only those that can reach the
 * `limit` best traces: as many, for whoever comes after them has at least `limit` traces before its best; and those
 * that tie with the last of them.
 */
export class Ranking {
  readonly #pattern: Set<string>
  readonly #limit: number
  readonly #least: number
  #kept: (Candidate & { similarity: number })[] = []

  /** `pattern` MUST have a word. */
  constructor(pattern: string, limit: number, threshold: number) {
    this.#pattern = wordsOf(pattern)
    this.#limit = limit
    this.#least = threshold - TOLERANCE
  }

  /** Each message MUST be added once. */
  add(candidate: Candidate): void {
    const similarity = similarityOf(this.#pattern, wordsOf(candidate.message))
    if (similarity < this.#least) return
    this.#kept.push({ ...candidate, similarity })
    if (this.#kept.length >= 4 * this.#limit + 1_000) this.#prune()
  }

  /** The messages to look for, most similar first. */
  winners(): Winner[] {
    this.#prune()
    const winners: Winner[] = []
    let [tier, need, inTier] = [-1, this.#limit, 0]
    let last: number | undefined
    for (const { message, similarity, count } of this.#kept) {
      if (similarity !== last) {
        need -= inTier
        if (need <= 0) break
        ;[tier, inTier, last] = [tier + 1, 0, similarity]
      }
      inTier += count
      winners.push({ message, similarity, tier, need })
    }
    return winners
  }

  #prune(): void {
    const kept = this.#kept
    kept.sort((a, b) => b.similarity - a.similarity || b.newestMs - a.newestMs)
    const last = kept[this.#limit - 1]
    if (last === undefined) return
    let end = this.#limit
    while (kept[end]?.similarity === last.similarity && kept[end]?.newestMs === last.newestMs) end += 1
    kept.length = Math.min(end, kept.length)
  }
}
