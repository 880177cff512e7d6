import { FRAME_MAX_BYTES, JsonBytes } from '@stepwell/protocol'

/** Left free before the deltas, for what precedes them in a command. */
const HEAD_ROOM = 1_024
/** A frame fits; one of a step that is larger alone, or of many letters beyond ASCII, gets a piece of its own. Of a piece only what was written is memory. */
const PIECE_BYTES = HEAD_ROOM + FRAME_MAX_BYTES + 4_096
/** One that holds less than this is copied, to have the piece again. */
const COPIED_BYTES = PIECE_BYTES / 2
/** That are kept. */
const PIECES_MAX = 8
const LINE_END = Buffer.from('\r\n')

/** Pieces of memory that are free. Taken anew for each frame, they would be the most of what a producer has to collect. */
const pieces: Buffer[] = []
const out = new JsonBytes(Buffer.allocUnsafeSlow(PIECE_BYTES))

/** A JSON array of deltas as it is sent: UTF-8, with room around it for the command that it goes with. */
export class WrittenDeltas {
  #memory: Buffer
  /** In bytes. */
  readonly length: number

  /** What `write` writes. It MUST not write others meanwhile. */
  constructor(write: (out: JsonBytes) => void) {
    out.moveTo(out.memory, HEAD_ROOM)
    write(out)
    this.length = out.length - HEAD_ROOM
    out.ascii(LINE_END)
    if (out.length < COPIED_BYTES) this.#memory = Buffer.from(out.memory.subarray(0, out.length))
    else {
      this.#memory = out.memory
      out.moveTo(pieces.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES))
    }
  }

  get text(): string {
    return this.#memory.toString('utf8', HEAD_ROOM, HEAD_ROOM + this.length)
  }

  /** The same after this head, and with the end of a line behind it. */
  after(head: string): Buffer {
    const headLength = Buffer.byteLength(head)
    const from = HEAD_ROOM - headLength
    const to = HEAD_ROOM + this.length + LINE_END.length
    if (from < 0) return Buffer.concat([Buffer.from(head), this.#memory.subarray(HEAD_ROOM, to)])
    this.#memory.write(head, from)
    return this.#memory.subarray(from, to)
  }

  /** Nobody needs them any more. */
  free(): void {
    const memory = this.#memory
    this.#memory = NOTHING
    if (memory.length === PIECE_BYTES && pieces.length < PIECES_MAX) pieces.push(memory)
  }
}

const NOTHING = Buffer.alloc(0)
