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
export class ByteReader {
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
    const length = this.number()
    const end = this.at + length
    if (end > this.bytes.length) throw new RangeError('the bytes end too soon')
    const bytes = this.bytes.subarray(this.at, end)
    this.at = end
    return textOf(bytes)
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const SHORT = 64

/** Short texts of ASCII, as names mostly are, by themselves: a call of the decoder takes five times as long. */
function textOf(bytes: Uint8Array): string {
  if (bytes.length > SHORT) return decoder.decode(bytes)
  let text = ''
  for (const byte of bytes) {
    if (byte > 127) return decoder.decode(bytes)
    text += String.fromCharCode(byte)
  }
  return text
}
