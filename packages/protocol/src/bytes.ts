import type { RollupSource } from './rollup-text.ts'

/** Writes whole numbers of 0 to 2^53 as 1 to 8 bytes, seven bits in each (LEB128), and texts as their length and UTF-8. */
export class ByteWriter {
  #bytes = new Uint8Array(256)
  #length = 0

  number(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
  }

  text(value: string): void {
    this.block(encoder.encode(value))
  }

  /** Bytes, after their length. */
  block(bytes: Uint8Array): void {
    this.number(bytes.length)
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** The bins from one place to another that have something, each as how much further it lies than the one before, and its count. */
  bins(bins: readonly number[], first: number, last: number): void {
    for (let at = first, previous = first; at <= last; at++) {
      const count = bins[at] as number
      if (count === 0) continue
      this.number(at - previous)
      this.number(count)
      previous = at
    }
  }

  /** What was written; a copy. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const grown = new Uint8Array(2 * (this.#length + more))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}

/** Reads what a ByteWriter wrote, in the same order. Throws RangeError where the bytes end too soon. */
export class ByteReader implements RollupSource {
  readonly bytes: Uint8Array
  /** The place of the next byte. */
  at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.at >= this.bytes.length
  }

  number(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw new RangeError('the bytes end too soon')
      if (byte < 128) return value + byte * factor
      value += (byte - 128) * factor
    }
  }

  text(): string {
    const end = this.number() + this.at
    if (end > this.bytes.length) throw new RangeError('the bytes end too soon')
    const { at } = this
    this.at = end
    return nameIn(this.bytes, at, end)
  }

  /** Most numbers are a byte each. */
  addBins(filled: number, bins: number[], begin: number): number {
    const { bytes } = this
    let [sum, at] = [0, 0]
    for (let i = 0; i < filled; i++) {
      let gap = bytes[this.at] as number
      if (gap < 128) this.at += 1
      else gap = this.number()
      let count = bytes[this.at] as number
      if (count < 128) this.at += 1
      else count = this.number()
      at += gap
      bins[begin + at] = (bins[begin + at] as number) + count
      sum += count
    }
    return sum
  }
}

const encoder = new TextEncoder()
// A mark at the beginning of a text belongs to it.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const SHORT = 64

/** The text of these bytes, which may have been read before. */
export const nameIn = (bytes: Uint8Array, begin: number, end: number): string =>
  (end - begin <= SHORT ? knownText(bytes, begin, end) : undefined) ?? decode(bytes, begin, end)

const decode = (bytes: Uint8Array, begin: number, end: number): string =>
  decoder.decode(bytes.subarray(begin, end))

/**
 * Short texts that were read, each at the place that its bytes lead to; another one that leads there replaces it. Names come again and again:
 * found here, one takes 60 ns instead of 300, and it is the very text that it was the last time, as maps like it.
 */
const known: string[] = Array.from({ length: 4_096 }, () => '')

/** The text of these bytes; undefined where it is not all ASCII. */
function knownText(bytes: Uint8Array, begin: number, end: number): string | undefined {
  let hash = 0
  for (let at = begin; at < end; at++) {
    const byte = bytes[at] as number
    if (byte > 127) return undefined
    hash = (Math.imul(hash, 31) + byte) | 0
  }
  const place = (hash ^ (hash >>> 12)) & (known.length - 1)
  const text = known[place] as string
  if (isText(text, bytes, begin, end)) return text
  const made = decode(bytes, begin, end)
  known[place] = made
  return made
}

function isText(text: string, bytes: Uint8Array, begin: number, end: number): boolean {
  if (text.length !== end - begin) return false
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[begin + i]) return false
  return true
}
