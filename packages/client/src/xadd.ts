import { FRAME_MAX_BYTES } from '@stepwell/protocol'
import { Command } from 'ioredis'

/** A frame fits; one of a step that is larger alone, or of many letters beyond ASCII, gets a piece of its own. Of a piece only what was written is memory. */
const PIECE_BYTES = FRAME_MAX_BYTES + 4_096
/** That are kept. */
const PIECES_MAX = 8
const OPEN = 91
const COMMA = 44
const CLOSE = 93

/** Pieces of memory that are free. Taken anew for each frame, they would be the most of what a producer has to collect. */
const pieces: Buffer[] = []

/**
 * An XADD whose last value is long: a JSON array of these items. Written by the library it is put together as a text that outlives the
 * young generation, or copied once more as bytes: here each item is encoded (https://redis.io/docs/latest/develop/reference/protocol-spec)
 * to where it is sent from.
 */
export class Xadd extends Command {
  #items: readonly string[]
  #piece: Buffer | undefined
  #written: Buffer | undefined

  constructor(
    stream: string,
    fields: readonly string[],
    items: readonly string[],
    keyPrefix: string | undefined,
  ) {
    super('xadd', [stream, '*', ...fields], keyPrefix === undefined ? {} : { keyPrefix })
    this.#items = items
  }

  /** For the library. Asked again, when a cluster sends it elsewhere, it is the same. */
  override toWritable(): Buffer {
    this.#written ??= this.#write()
    return this.#written
  }

  /** It was answered: nobody sends it again. What of the library outlives it for a while shall not hold the items. */
  free(): void {
    this.#items = []
    if (this.#piece !== undefined && pieces.length < PIECES_MAX) pieces.push(this.#piece)
    this.#piece = undefined
    this.#written = undefined
  }

  #write(): Buffer {
    const args = this.args as string[]
    let head = `*${args.length + 2}\r\n$4\r\nxadd\r\n`
    for (const arg of args) head += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`
    // Commas and brackets: one more than there are items, or two.
    let length = Math.max(2, this.#items.length + 1)
    for (const item of this.#items) length += Buffer.byteLength(item)
    head += `$${length}\r\n`
    const headLength = Buffer.byteLength(head)
    const size = headLength + length + 2
    const bytes = this.#take(size)
    bytes.write(head)
    let at = headLength
    bytes[at++] = OPEN
    for (const [i, item] of this.#items.entries()) {
      if (i > 0) bytes[at++] = COMMA
      at += bytes.write(item, at)
    }
    bytes[at++] = CLOSE
    bytes.write('\r\n', at)
    return bytes.subarray(0, size)
  }

  #take(size: number): Buffer {
    if (size > PIECE_BYTES) return Buffer.allocUnsafeSlow(size)
    this.#piece = pieces.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    return this.#piece
  }
}
