/** A write of all that a worker holds fits. Of a piece only what was written is memory. */
const PIECE_BYTES = 2 << 20
/** That are kept: as many as a worker writes at once of what comes whole. */
const PIECES_MAX = 3
const [BIND, BINARY] = [0x42, 1]
const LENGTH_SIZE = 4

const pieces: Buffer[] = []

/**
 * The values of a statement, each in Postgres' binary form, as they are sent: in the message Bind
 * (https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND), in memory that is used again. As buffers, which `pg`
 * copies into a message that it makes anew, all of that had to be collected (docs/adr/0002-storage-form-of-steps.md).
 */
export class BoundValues {
  /** What is written to, from the place on that `next` gives; maybe another one after each. */
  bytes: Buffer = pieces.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
  #length: number
  /** Where each begins, its length before it. */
  readonly #places: number[] = []

  /** So many. */
  constructor(count: number) {
    let at = this.bytes.writeUInt8(BIND)
    // The length of all comes last.
    at += LENGTH_SIZE
    // Portal and statement have no names.
    at = this.bytes.writeInt16BE(0, at)
    // One format, for all.
    at = this.bytes.writeInt16BE(1, at)
    at = this.bytes.writeInt16BE(BINARY, at)
    this.#length = this.bytes.writeInt16BE(count, at)
  }

  /** Where to write the next, of at most so many bytes. Then MUST come `end`. */
  next(maxSize: number): number {
    const at = this.#length + LENGTH_SIZE
    // And two bytes behind the last.
    if (at + maxSize + 2 > this.bytes.length) this.#grow(at + maxSize + 2)
    this.#places.push(at)
    return at
  }

  /** It ends before this place. */
  end(to: number): void {
    this.bytes.writeInt32BE(to - this.#length - LENGTH_SIZE, this.#length)
    this.#length = to
  }

  /** Those that are written, in the memory of the message. */
  get values(): Buffer[] {
    return this.#places.map((at) => this.bytes.subarray(at, at + this.bytes.readInt32BE(at - LENGTH_SIZE)))
  }

  /** With all of them. */
  get message(): Buffer {
    // No format for what is answered: text.
    this.bytes.writeInt16BE(0, this.#length)
    this.bytes.writeInt32BE(this.#length + 2 - 1, 1)
    return this.bytes.subarray(0, this.#length + 2)
  }

  /** Nobody needs them any more: they MUST have been read by the server, for others are written over them. */
  free(): void {
    if (this.bytes.length === PIECE_BYTES && pieces.length < PIECES_MAX) pieces.push(this.bytes)
    this.bytes = NOTHING
  }

  #grow(length: number): void {
    const grown = Buffer.allocUnsafeSlow(2 * length)
    this.bytes.copy(grown, 0, 0, this.#length)
    this.bytes = grown
  }
}

const NOTHING = Buffer.alloc(0)
