import { nameIn } from './bytes.ts'

// The text that rollups are kept as. Postgres sends a text as it is, where bytes come as twice as many hexadecimal digits; nearly all
// bins of a sketch are a character each. Printable ASCII, but for names.

/** A character stands for its code less this: 0 to 93. */
const FIRST = 33
/** Digits of numbers, the lowest first: less than this in the last one, in those before this more. */
const DIGITS = 47

/**
 * What a character says of a bin: how many further it lies than the one before, and what is in it. The common ones: bins side by side with up to 50, near
 * ones with a few, and one duration by itself. Any other is the character OTHER, the gap and the count. Stored: it must stay as it is.
 */
const OTHER = FIRST + 93
const NEAR = 32
const FEW = 50
/** By character: the gap, and 64 times the count. 0: none. */
const BINS = new Int16Array(256)
/** By that: the character. */
const CHARACTERS = new Uint8Array(64 * 64)
let character = FIRST
for (let gap = 1; gap <= NEAR; gap++)
  for (let count = 1; count <= (gap === 1 ? FEW : gap <= 5 ? 4 : 1); count++, character++) {
    BINS[character] = count * 64 + gap
    CHARACTERS[count * 64 + gap] = character
  }

/** What rollups are read from: a text, or the bytes that they were kept as before. */
export interface RollupSource {
  /** The place of what is read next. */
  at: number
  readonly isAtEnd: boolean
  number(): number
  text(): string
  /** Adds so many bins that have something to others, the first of which has the place `begin`; gives the sum of the counts. */
  addBins(filled: number, bins: number[], begin: number): number
}

/** Writes whole numbers of 0 to 2^53, texts, and bins of sketches. */
export class RollupTextWriter {
  #bytes = new Uint8Array(1_024)
  #length = 0

  number(value: number): void {
    this.#reserve(10)
    let rest = value
    while (rest >= DIGITS) {
      this.#bytes[this.#length++] = FIRST + DIGITS + (rest % DIGITS)
      rest = Math.floor(rest / DIGITS)
    }
    this.#bytes[this.#length++] = FIRST + rest
  }

  /** A text, after its length in UTF-8. */
  text(value: string): void {
    this.#block(encoder.encode(value))
  }

  /** What another one has, after its length; takes it out there. */
  take(other: RollupTextWriter): void {
    this.#block(other.#bytes.subarray(0, other.#length))
    other.#length = 0
  }

  /** The bins from one place to another, both of which have something. */
  bins(bins: readonly number[], first: number, last: number): void {
    for (let at = first, previous = first - 1; at <= last; at++) {
      const count = bins[at] as number
      if (count === 0) continue
      const gap = at - previous
      previous = at
      const known = gap <= NEAR && count <= FEW ? (CHARACTERS[count * 64 + gap] as number) : 0
      this.#reserve(1)
      this.#bytes[this.#length++] = known > 0 ? known : OTHER
      if (known > 0) continue
      this.number(gap)
      this.number(count)
    }
  }

  /** All that was written. */
  toString(): string {
    return decoder.decode(this.#bytes.subarray(0, this.#length))
  }

  #block(bytes: Uint8Array): void {
    this.number(bytes.length)
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const grown = new Uint8Array(2 * (this.#length + more))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Reads what a RollupTextWriter wrote, in the same order. Throws RangeError where the text ends too soon. */
export class RollupTextReader implements RollupSource {
  /** Read as bytes: a character of a text takes half as long again. */
  readonly #bytes: Uint8Array
  at = 0

  constructor(text: string) {
    this.#bytes = Buffer.from(text)
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length
  }

  number(): number {
    let value = 0
    for (let factor = 1; ; factor *= DIGITS) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) throw new RangeError('the text ends too soon')
      if (byte < FIRST + DIGITS) return value + (byte - FIRST) * factor
      value += (byte - FIRST - DIGITS) * factor
    }
  }

  text(): string {
    const end = this.number() + this.at
    if (end > this.#bytes.length) throw new RangeError('the text ends too soon')
    const { at } = this
    this.at = end
    return nameIn(this.#bytes, at, end)
  }

  /** This loop is most of what statistics cost. */
  addBins(filled: number, bins: number[], begin: number): number {
    const bytes = this.#bytes
    let at = this.at
    let place = (begin - 1) | 0
    let sum = 0
    for (let left = filled | 0; left > 0; left--) {
      const bin = BINS[bytes[at++] as number] as number
      let gap = bin & 63
      let count = bin >> 6
      // The OTHER one, or the end.
      if (gap === 0) {
        this.at = at
        gap = this.number()
        count = this.number()
        at = this.at
      }
      place += gap
      bins[place] = (bins[place] as number) + count
      sum += count
    }
    this.at = at
    return sum
  }
}
