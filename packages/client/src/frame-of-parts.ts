import type { OutgoingFrame } from './sink.ts'

/**
 * A frame whose deltas are at hand one by one. Their text is put together when it is asked for: who sends them one after the other needs
 * no such copy, which of a full frame takes hundreds of KiB.
 */
export class FrameOfParts implements OutgoingFrame {
  readonly producer: string
  readonly number: number
  readonly shard: number
  readonly deltaCount: number
  readonly counters: OutgoingFrame['counters']
  readonly events: number
  readonly #parts: readonly string[]
  #text: string | undefined

  constructor(parts: readonly string[], head: Omit<OutgoingFrame, 'deltas' | 'deltaCount'>) {
    this.producer = head.producer
    this.number = head.number
    this.shard = head.shard
    this.deltaCount = parts.length
    this.counters = head.counters
    this.events = head.events
    this.#parts = parts
  }

  /** The JSON text of each delta. */
  get parts(): readonly string[] {
    return this.#parts
  }

  get deltas(): string {
    this.#text ??= `[${this.#parts.join(',')}]`
    return this.#text
  }

  toJSON(): OutgoingFrame {
    return { ...this, deltas: this.deltas }
  }
}
