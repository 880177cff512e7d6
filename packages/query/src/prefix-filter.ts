import { lengthClass, wordKey } from '@stepwell/protocol/failures'

/** One look at the signatures: all that are at least this similar, and less than those of the round before, have one of these keys. */
export interface Round {
  /** Keys to find them by. */
  keys: number[]
  least: number
  below: number
  /** Words that such a signature has at least and at most. */
  wordsMin: number
  wordsMax: number
  /** Share of the signatures that is looked at, as far as is known. */
  looked: number
}

/** Share of the signatures that the first round may look at; then four times as many, and so on. */
const FIRST_SHARE = 0.005
const GROWTH = 4
/** Of keys that are not among the most common ones. */
const RARE_SHARE = 0.000_01
/** Similarities that rounds may end at. */
const STEP = 0.05
/** As an upper bound of a similarity: no signature is above it. */
const ABOVE_ALL = 2

/**
 * The rounds in which signatures are looked for, from high similarity to low, so that who has enough can stop. Prefix filter with lengths (Chaudhuri
 * et al. 2006; Bayardo et al. 2007): a set of m words that is similar enough to n words shares at least so many of them, s; then any n − s + 1 of the n words
 * hit it, so the rarest ones of that length are looked for. Exact: only how long it takes depends on the shares.
 * Two words of ours that have one hash are two words to the bounds and one to look for.
 *
 * `count` is the number of words; of none nothing is looked for. `threshold` is inclusive, `below`, where they begin, is not; `shareOf` tells which share of signatures
 * has a key, where known. `firstShare`: that the first round may look at.
 */
export function* roundsFor(
  count: number,
  hashes: readonly number[],
  threshold: number,
  shareOf: ReadonlyMap<number, number>,
  below = ABOVE_ALL,
  firstShare = FIRST_SHARE,
): Generator<Round> {
  const share = (key: number): number => shareOf.get(key) ?? RARE_SHARE
  const lengths = new Map<number, { key: number; share: number }[]>()
  /** The keys in sets of this class, the rarest first. */
  const rarestFirst = (length: number): { key: number; share: number }[] => {
    let keys = lengths.get(length)
    if (keys === undefined) {
      keys = hashes.map((hash) => wordKey(hash, length)).map((key) => ({ key, share: share(key) }))
      lengths.set(
        length,
        keys.sort((a, b) => a.share - b.share),
      )
    }
    return keys
  }
  const roundTo = (least: number, below: number): Round => {
    const { wordsMin, wordsMax } = lengthBounds(count, least)
    const round = { keys: [] as number[], least, below, wordsMin, wordsMax, looked: 0 }
    for (const [length, shortest] of classesBetween(wordsMin, wordsMax)) {
      const keys = rarestFirst(length)
      const needed = count - leastShared(count, shortest, least) + 1
      for (const one of keys.slice(0, needed)) {
        round.keys.push(one.key)
        round.looked += one.share
      }
    }
    return round
  }
  let budget = firstShare
  let next: Round | undefined
  for (let step = 1; count > 0 && below > threshold; step++) {
    const least = Math.max(threshold, Math.round(100 - 100 * step * STEP) / 100)
    if (least >= below) continue
    const round = roundTo(least, below)
    const isLast = round.least === threshold
    if (round.looked > budget && next !== undefined) {
      yield next
      below = next.least
      budget = Math.max(GROWTH * budget, GROWTH * next.looked)
    }
    next = { ...round, below }
    if (!isLast) continue
    yield next
    below = threshold
  }
}

/** The classes of sets with so many words, and how many the shortest of each has. */
function* classesBetween(wordsMin: number, wordsMax: number): Generator<[length: number, shortest: number]> {
  let words = wordsMin
  while (words <= wordsMax) {
    const length = lengthClass(words)
    yield [length, words]
    let past = words
    while (lengthClass(past) === length) past += 1
    words = past
  }
}

/** Words that a set of so many must share at least, to be that similar. At least one: what shares none is looked for otherwise. */
function leastShared(count: number, words: number, least: number): number {
  let shared = Math.max(1, Math.ceil((least / (1 + least)) * (count + words)) - 1)
  while (shared / (count + words - shared) < least && shared < Math.min(count, words)) shared += 1
  return shared
}

/** A set that is that similar has about as many words. Compared as the similarity is, so that rounding is the same. */
function lengthBounds(count: number, least: number): { wordsMin: number; wordsMax: number } {
  let wordsMin = Math.max(1, Math.ceil(least * count) - 1)
  while (wordsMin / count < least) wordsMin += 1
  let wordsMax = Math.min(WORDS_MAX, Math.ceil(count / least) + 1)
  while (wordsMax > count && count / wordsMax < least) wordsMax -= 1
  return { wordsMin, wordsMax }
}

/** As many words as a message can have: it has 16,384 units at most. */
const WORDS_MAX = 8_192
