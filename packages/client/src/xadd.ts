import { Command } from 'ioredis'

/** A frame of the usual size fits; what is larger gets a piece of its own. */
const PIECE_BYTES = 65_536
/** As many as are on their way at once. */
const PIECES_MAX = 16

/** Pieces of memory that are free. Taken anew for each frame, they would be the most of what a producer has to collect. */
const pieces: Buffer[] = []

/**
 * An XADD whose last value is long. Written by the library it is put together as a text that outlives the young generation, or copied
 * once more as bytes: here it is encoded once (https://redis.io/docs/latest/develop/reference/protocol-spec), to where it is sent from.
 */
export class Xadd extends Command {
  #piece: Buffer | undefined
  #written: Buffer | undefined

  constructor(stream: string, fields: readonly string[], keyPrefix: string | undefined) {
    super('xadd', [stream, '*', ...fields], keyPrefix === undefined ? {} : { keyPrefix })
  }

  /** For the library. Asked again, when a cluster sends it elsewhere, it is the same. */
  override toWritable(): Buffer {
    this.#written ??= this.#write()
    return this.#written
  }

  /** It was answered: nobody sends it again. What of the library outlives it for a while shall not hold the long text. */
  free(): void {
    this.args.length = 0
    if (this.#piece !== undefined && pieces.length < PIECES_MAX) pieces.push(this.#piece)
    this.#piece = undefined
    this.#written = undefined
  }

  #write(): Buffer {
    const args = this.args as string[]
    const value = args.at(-1) as string
    let head = `*${args.length + 1}\r\n$4\r\nxadd\r\n`
    for (const arg of args.slice(0, -1)) head += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`
    const length = Buffer.byteLength(value)
    head += `$${length}\r\n`
    const headLength = Buffer.byteLength(head)
    const size = headLength + length + 2
    const bytes = this.#take(size)
    bytes.write(head)
    bytes.write(value, headLength)
    bytes.write('\r\n', headLength + length)
    return bytes.subarray(0, size)
  }

  #take(size: number): Buffer {
    if (size > PIECE_BYTES) return Buffer.allocUnsafeSlow(size)
    this.#piece = pieces.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    return this.#piece
  }
}
