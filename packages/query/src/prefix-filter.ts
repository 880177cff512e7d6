/** One look at the signatures: all that are at least this similar, and less than those of the round before, have one of these words. */
export interface Round {
  /** Hashes of words. */
  words: number[]
  least: number
  below: number
  /** Words that such a signature has at least and at most. */
  wordsMin: number
  wordsMax: number
}

/** Share of the signatures that the first round may look at; then four times as many, and so on. */
const FIRST_SHARE = 0.005
const GROWTH = 4
/** The next word and so many as common as it go into one round. */
const COMPANY = 3
/** Of words that are not among the most common ones. */
const RARE_SHARE = 0.000_1
/** As an upper bound of a similarity: no signature is above it. */
const ABOVE_ALL = 2

/**
 * The rounds in which signatures are looked for, from high similarity to low, so that who has enough can stop. Prefix filter (Chaudhuri et al. 2006;
 * Bayardo et al. 2007): of two sets of which n − k + 1 of n words are shared, any k of the n words hit at least one. So the k rarest words find
 * all that are at least (n − k + 1) / n similar. Exact: only how long it takes depends on the shares. Two words of ours that have one hash are two words
 * to the bounds and one to look for.
 *
 * `count` is the number of words, at least 1; `threshold` is inclusive; `shareOf` tells which share of signatures has a word, where known.
 */
export function* roundsFor(
  count: number,
  hashes: readonly number[],
  threshold: number,
  shareOf: ReadonlyMap<number, number>,
): Generator<Round> {
  const share = (hash: number): number => shareOf.get(hash) ?? RARE_SHARE
  const rarestFirst = hashes.toSorted((a, b) => share(a) - share(b))
  const most = count - leastShared(count, threshold) + 1
  let below = ABOVE_ALL
  let looked = 0
  let k = 0
  for (let budget = FIRST_SHARE; k < most; budget *= GROWTH) {
    // Common words come together: who looks at one of them looks at others for little more.
    budget = Math.max(budget, looked + COMPANY * share(rarestFirst[k] ?? 0))
    do looked += share(rarestFirst[k++] ?? 0)
    while (k < most && looked + share(rarestFirst[k] ?? 0) <= budget)
    const least = k === most ? threshold : (count - k + 1) / count
    yield { words: rarestFirst.slice(0, k), least, below, ...lengthBounds(count, least) }
    below = least
  }
}

/** Words that must be shared at least: what is shared is divided by `count` or more. At least one: what shares none is looked for otherwise. */
function leastShared(count: number, least: number): number {
  let shared = Math.max(1, Math.ceil(least * count) - 1)
  while (shared / count < least) shared += 1
  return shared
}

/** A set that is that similar has about as many words. Compared as the similarity is, so that rounding is the same. */
function lengthBounds(count: number, least: number): { wordsMin: number; wordsMax: number } {
  const wordsMin = leastShared(count, least)
  let wordsMax = Math.min(2 ** 31 - 1, Math.ceil(count / least) + 1)
  while (wordsMax > count && count / wordsMax < least) wordsMax -= 1
  return { wordsMin, wordsMax }
}
