import type { OutgoingFrame } from './sink.ts'
import type { WrittenDeltas } from './written-deltas.ts'

/** A frame whose deltas are at hand as bytes. They become a text when that is asked for: who sends bytes needs none. */
export class FrameOfBytes implements OutgoingFrame {
  readonly producer: string
  readonly number: number
  readonly shard: number
  readonly deltaCount: number
  readonly counters: OutgoingFrame['counters']
  readonly events: number
  readonly #written: WrittenDeltas

  constructor(written: WrittenDeltas, head: Omit<OutgoingFrame, 'deltas'>) {
    this.producer = head.producer
    this.number = head.number
    this.shard = head.shard
    this.deltaCount = head.deltaCount
    this.counters = head.counters
    this.events = head.events
    this.#written = written
  }

  get written(): WrittenDeltas {
    return this.#written
  }

  get deltas(): string {
    return this.#written.text
  }

  toJSON(): OutgoingFrame {
    return { ...this, deltas: this.deltas }
  }
}
