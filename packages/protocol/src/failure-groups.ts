import { areJoined, maskedHash, maskedText, type TokenizedPattern, tokenize } from './pattern-places.ts'
import { VARIABLE } from './pattern-writer.ts'

/** Patterns that are one failure. */
export interface PatternGroup {
  /** The most general pattern of the group: what names it. */
  pattern: string
  /** The patterns that messages have, in the order given. */
  members: string[]
}

/** So many different words at one place, all else being equal, tell that the place varies. */
const WORDS_MIN = 5
/** At each of two places at once. */
const WORDS_OF_TWO_MIN = 8
/** Where words as a rule tell failures apart. */
const TELLING_WORDS_MIN = 15
/** So many words besides must be shared; with fewer, it takes more evidence; with fewer than the second none suffices. */
const SHARED_MIN = 3
const SHARED_LEAST = 2
/** Of longer patterns, pairs of words would be too many. */
const PAIRS_MAX_WORDS = 20
/** Patterns of a step. */
const STEP = 32

/**
 * Puts patterns together that differ by names. Names made of letters alone are what no mask can know: `Failed password for root from <*>`.
 * Patterns that agree but for one word, or two, are one group if these places are known to vary: there is a pattern that has `<*>` there, or
 * there are five different words or more (eight at each of two). Words that tell failures apart are no names: codes (`ECONNREFUSED`)
 * and exceptions never, the verb of `failed to open` and the last word after a colon (`request failed: timeout`) only if there are fifteen.
 *
 * Depends on the set of patterns alone, not on their order; more patterns join groups, and never part them.
 */
export function groupPatterns(patterns: Iterable<string>): PatternGroup[] {
  const steps = groupPatternsInSteps(patterns)
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/** The same in steps of about a millisecond, for who has other things to do in between: it gives the groups when it is done. */
export function* groupPatternsInSteps(patterns: Iterable<string>): Generator<undefined, PatternGroup[]> {
  const all = [...new Set(patterns)]
  const groups = new Groups(all)
  const numbers = new Map(all.map((pattern, i) => [pattern, i]))
  const byWords = new Map<number, number[]>()
  for (const [i, pattern] of all.entries()) {
    const { length } = tokenize(pattern).words
    const same = byWords.get(length) ?? []
    byWords.set(length, same)
    same.push(i)
    if (i % STEP === 0) yield
  }
  // A slot for each of about 64 ways to mask a pattern, within 16 MiB.
  const counts = new Uint8Array(2 ** Math.min(24, Math.ceil(Math.log2(all.length + 1)) + 6))
  const longest = Math.max(0, ...byWords.keys())
  // What masks make alike shares equally many words: it is enough to look at those at a time.
  for (let shared = SHARED_LEAST; shared <= longest; shared++) {
    const some = [0, 1, shared + 2 <= PAIRS_MAX_WORDS ? 2 : 0].flatMap(
      (masks) => byWords.get(shared + masks) ?? [],
    )
    const tokenized: Numbered[] = []
    for (const i of new Set(some)) {
      tokenized.push({ number: i, ...tokenize(all[i] as string) })
      if (tokenized.length % STEP === 0) yield
    }
    let joined = 0
    for (const place of yield* placesOf(tokenized, shared, counts)) {
      const general = numbers.get(place.text)
      if (isKnownToVary(place, shared, general !== undefined)) groups.join(place.seen, general)
      if (joined++ % STEP === 0) yield
    }
  }
  return yield* groups.list()
}

interface Numbered extends TokenizedPattern {
  number: number
}

/** Patterns that are the same text if some of their words are masked. */
interface Place {
  text: string
  /** Per mask the words under it. Capitals do not count: they may be states. */
  words: Set<string>[]
  seen: { pattern: Numbered; masked: readonly number[] }[]
  /** Whether there is a mask where words tell failures apart. */
  isTelling: boolean
}

function isKnownToVary({ words, isTelling }: Place, shared: number, isGeneralThere: boolean): boolean {
  const isRisky = isTelling || shared < SHARED_MIN
  const least = isRisky ? TELLING_WORDS_MIN : words.length > 1 ? WORDS_OF_TWO_MIN : WORDS_MIN
  return (isGeneralThere && !isRisky) || words.every(({ size }) => size >= least)
}

/** The places that two patterns or more have, unmasked ones included. */
function* placesOf(
  patterns: readonly Numbered[],
  shared: number,
  counts: Uint8Array,
): Generator<undefined, Iterable<Place>> {
  // Nearly all places belong to one pattern alone, and are left out by a hash. Two that share one by chance are told apart below.
  counts.fill(0)
  const slotOf = (hash: number): number => hash & (counts.length - 1)
  for (const [i, pattern] of patterns.entries()) {
    if (i % STEP === 0) yield
    for (const masked of masksOf(pattern, shared)) {
      const slot = slotOf(maskedHash(pattern, masked))
      if (counts[slot] !== 2) counts[slot] = (counts[slot] as number) + 1
    }
  }
  const places = new Map<string, Place>()
  for (const [i, pattern] of patterns.entries()) {
    if (i % STEP === 0) yield
    for (const masked of masksOf(pattern, shared)) {
      if (masked.length === 0 || counts[slotOf(maskedHash(pattern, masked))] !== 2) continue
      const text = maskedText(pattern, masked)
      const key = `${masked.length} ${text}`
      const place = places.get(key) ?? {
        text,
        words: masked.map(() => new Set()),
        seen: [],
        isTelling: false,
      }
      places.set(key, place)
      place.seen.push({ pattern, masked })
      masked.forEach((token, i) => {
        const word = pattern.tokens[token] as string
        if (!/^[A-Z]{2,}$/.test(word)) place.words[i]?.add(word)
        place.isTelling ||= isTellingPlace(pattern, token)
      })
    }
  }
  return places.values()
}

/** The ways to mask words so that so many are left. */
function masksOf(pattern: TokenizedPattern, shared: number): number[][] {
  const { words, tokens, left, right } = pattern
  if (words.length === shared) return [[]]
  const names = words.filter(
    (token) =>
      !CODE_OR_EXCEPTION.test(tokens[token] as string) &&
      // The `at` of `<*> at <*>` holds the two together.
      (left[token] === token || right[token] === token + 1),
  )
  if (words.length === shared + 1) return names.map((token) => [token])
  return names.flatMap((a, i) =>
    names.slice(i + 1).flatMap((b) => (areJoined(pattern, a, b) ? [] : [[a, b]])),
  )
}

const CODE_OR_EXCEPTION = /^E[A-Z]{3,}$|^[A-Z]+_[A-Z_]+$|(?:Error|Exception)$/
const BEFORE_VERB =
  /\b(?:fail(?:ed|ing|ure)?|unable|try(?:ing)?|tried|attempt(?:ed|ing)?|refus(?:ed|ing)|going|able|wants?|needs?) to $|\b(?:can|cannot|can't|could|couldn't|did|didn't|does|doesn't|must|should|may|will|won't|not) $/i

/** Of the text of the place alone, so all patterns that have it agree. */
function isTellingPlace({ tokens, left, right }: TokenizedPattern, token: number): boolean {
  const from = left[token] as number
  const before = tokens.slice(Math.max(0, from - 8), from).join('')
  const isLast = !/[\p{L}\p{N}<]/u.test(tokens.slice(right[token]).join(''))
  return (isLast && /: ?$/.test(before)) || BEFORE_VERB.test(before)
}

/** Disjoint sets of patterns. */
class Groups {
  readonly #all: readonly string[]
  readonly #parents: number[]
  /** Per pattern the tokens that are known to vary. */
  readonly #varying = new Map<number, Set<number>>()

  constructor(all: readonly string[]) {
    this.#all = all
    this.#parents = all.map((_, i) => i)
  }

  join(seen: Place['seen'], general: number | undefined): void {
    const [first] = seen as [Place['seen'][0]]
    if (general !== undefined) this.#unite(first.pattern.number, general)
    for (const { pattern, masked } of seen) {
      this.#unite(first.pattern.number, pattern.number)
      const varying = this.#varying.get(pattern.number) ?? new Set()
      for (const token of masked) varying.add(token)
      this.#varying.set(pattern.number, varying)
    }
  }

  *list(): Generator<undefined, PatternGroup[]> {
    const groups = new Map<number, PatternGroup>()
    for (const [i, member] of this.#all.entries()) {
      if (i % STEP === 0) yield
      const pattern = this.#general(i)
      const group = groups.get(this.#rootOf(i))
      if (group === undefined) groups.set(this.#rootOf(i), { pattern, members: [member] })
      else {
        group.members.push(member)
        group.pattern = moreGeneral(group.pattern, pattern)
      }
    }
    return [...groups.values()]
  }

  #general(i: number): string {
    const pattern = this.#all[i] as string
    const varying = this.#varying.get(i)
    return varying === undefined
      ? pattern
      : maskedText(
          tokenize(pattern),
          [...varying].sort((a, b) => a - b),
        )
  }

  #unite(one: number, other: number): void {
    const [a, b] = [this.#rootOf(one), this.#rootOf(other)]
    this.#parents[Math.max(a, b)] = Math.min(a, b)
  }

  #rootOf(i: number): number {
    let root = i
    while (this.#parents[root] !== root) root = this.#parents[root] as number
    this.#parents[i] = root
    return root
  }
}

/** The one of two patterns that says less; the first of the alphabet if both say as much. */
function moreGeneral(a: string, b: string): string {
  const difference = a.replaceAll(VARIABLE, '').length - b.replaceAll(VARIABLE, '').length
  return difference > 0 || (difference === 0 && b < a) ? b : a
}
