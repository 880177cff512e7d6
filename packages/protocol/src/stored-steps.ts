import type { StepTuple } from './delta.ts'

/** Something that has the name of a step. */
export interface NamedStep {
  readonly name: string
}

/**
 * What statistics need of the steps of a trace, read from the text that is stored. The text is gone through as it is, and parsed only
 * where it is not as we write it (spaces, escapes in names). Made once, and filled anew by every `read`: ten steps take 0.6 µs and no
 * memory, where JSON.parse takes 4.5.
 */
export class StoredSteps {
  /** How many there are. What the lists hold beyond is of earlier ones. */
  count = 0
  readonly names: string[] = []
  /** Milliseconds; null while it is open. */
  readonly durations: (number | null)[] = []
  /** Positions in STEP_STATUSES; other numbers stand for statuses that nobody knows. */
  readonly statuses: number[] = []

  /**
   * Reads the JSON text of step tuples, as a column of type `json` gives it. `expected`: steps that are likely to have the same names, in
   * order; where one has, its name is taken and none is made. Throws SyntaxError at other texts, as far as it notices.
   */
  read(text: string, expected: readonly NamedStep[]): void {
    this.count = 0
    if (text === '[]' || this.#scan(text, expected)) return
    this.count = 0
    for (const [, name, , ms, status] of JSON.parse(text) as StepTuple[])
      this.#put(name, ms ?? null, status ?? 0)
  }

  #put(name: string, ms: number | null, status: number): void {
    this.names[this.count] = name
    this.durations[this.count] = ms
    this.statuses[this.count] = status
    this.count += 1
  }

  /** Whether the text is as we write it. */
  #scan(text: string, expected: readonly NamedStep[]): boolean {
    if (text.charCodeAt(0) !== OPEN) return false
    let at = 0
    do at = this.#scanTuple(text, at + 1, expected[this.count]?.name)
    while (text.charCodeAt(at) === COMMA)
    return text.charCodeAt(at) === CLOSE && at === text.length - 1
  }

  /** Gives where the tuple ends that begins here; -1: it is not as we write it. */
  #scanTuple(text: string, begin: number, likely: string | undefined): number {
    if (text.charCodeAt(begin) !== OPEN) return -1
    let at = endOfScalar(text, begin + 1)
    if (text.charCodeAt(at) !== COMMA || text.charCodeAt(at + 1) !== QUOTE) return -1
    const nameAt = at + 2
    const isLikely = likely !== undefined && isQuoted(text, nameAt, likely)
    const nameEnd = isLikely ? nameAt + likely.length : endOfText(text, nameAt)
    if (nameEnd < 0) return -1
    at = nameEnd + 1
    if (text.charCodeAt(at) === COMMA) at = endOfScalar(text, at + 1)
    let ms: number | null = null
    if (text.charCodeAt(at) === COMMA) {
      const end = endOfScalar(text, at + 1)
      if (end < 0) return -1
      if (text.charCodeAt(at + 1) !== LOWER_N) ms = numberOf(text, at + 1, end)
      at = end
    }
    let status = 0
    if (text.charCodeAt(at) === COMMA) {
      status = text.charCodeAt(at + 1) - ZERO
      if (!(status >= 0 && status <= 9)) return -1
      at += 2
    }
    if (text.charCodeAt(at) === COMMA) at = endOfTuple(text, at + 1)
    if (text.charCodeAt(at) !== CLOSE) return -1
    this.#put(isLikely ? likely : text.slice(nameAt, nameEnd), ms, status)
    return at + 1
  }
}

const QUOTE = 0x22
const COMMA = 0x2c
const POINT = 0x2e
const ZERO = 0x30
const OPEN = 0x5b
const BACKSLASH = 0x5c
const CLOSE = 0x5d
const LOWER_N = 0x6e
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** Whether this name stands here, up to a quote. One with a quote or a backslash does not: it would stand with escapes. */
function isQuoted(text: string, at: number, name: string): boolean {
  const { length } = name
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(at + i)
    if (code !== name.charCodeAt(i) || code === QUOTE || code === BACKSLASH) return false
  }
  return text.charCodeAt(at + length) === QUOTE
}

/** Where the quote is that ends the text; -1: it has escapes. */
function endOfText(text: string, begin: number): number {
  for (let at = begin; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    if (code === BACKSLASH) return -1
  }
  return -1
}

/** Where the comma or bracket is that follows a number, `null` or a text without escapes; -1: something else is there. */
function endOfScalar(text: string, begin: number): number {
  const first = text.charCodeAt(begin)
  if (first === QUOTE) {
    const quote = endOfText(text, begin + 1)
    return quote < 0 ? -1 : quote + 1
  }
  if (first === OPEN || first === OPEN_BRACE) return -1
  for (let at = begin; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === COMMA || code === CLOSE) return at
  }
  return -1
}

/** Where the bracket is that ends the tuple whose next element begins here. */
function endOfTuple(text: string, begin: number): number {
  let depth = 0
  for (let at = begin; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at += 1
      for (; text.charCodeAt(at) !== QUOTE && at < text.length; at++)
        if (text.charCodeAt(at) === BACKSLASH) at += 1
    } else if (code === OPEN || code === OPEN_BRACE) depth += 1
    else if (code === CLOSE && depth === 0) return at
    else if (code === CLOSE || code === CLOSE_BRACE) depth -= 1
  }
  return -1
}

/** Of so many digits a double holds every number, and every power of ten up to there: dividing rounds once, as reading the text does. */
const EXACT_DIGITS = 15
const POWERS = Array.from({ length: EXACT_DIGITS + 1 }, (_, i) => 10 ** i)

/** The number that is written from here to there. */
function numberOf(text: string, begin: number, end: number): number {
  if (end - begin > EXACT_DIGITS + 1) return Number(text.slice(begin, end))
  let digits = 0
  let pointAt = end - 1
  for (let at = begin; at < end; at++) {
    const digit = text.charCodeAt(at) - ZERO
    if (digit >= 0 && digit <= 9) digits = digits * 10 + digit
    else if (digit === POINT - ZERO) pointAt = at
    // A sign, an exponent.
    else return Number(text.slice(begin, end))
  }
  return digits / (POWERS[end - 1 - pointAt] as number)
}
