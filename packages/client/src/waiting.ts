import { FRAME_MAX_BYTES } from '@stepwell/protocol'
import type { OpenTrace } from './open-trace.ts'

/** Events that make a frame worth sending. */
export const FRAME_MAX_EVENTS = 512
/** Where so many places of the list are empty it is worth a copy. */
const GONE_MAX = 4_096

/** The deltas of one frame. */
export interface Cut {
  /** JSON text of each. */
  deltas: string[]
  events: number
  /** Bytes of the buffer that are free again. */
  freedBytes: number
  /** When the oldest of it was recorded, by the monotonic clock. */
  recordedPerfMs: number
  /** Traces that begin in it and go on. */
  begun: OpenTrace[]
}

/**
 * What waits of one shard, to be cut into frames: traces that have ended, to be sent soon, and open ones with news, to be sent when
 * the oldest has waited long enough: most runs end before and travel whole. Both in the order in which they began to wait.
 */
export class Waiting {
  /** Before `#from` they are gone. */
  #ended: OpenTrace[] = []
  #from = 0
  /** Events of the traces that have ended. */
  endedEvents = 0
  readonly #open = new Set<OpenTrace>()

  /** An open trace with news. */
  addOpen(trace: OpenTrace): void {
    this.#open.add(trace)
  }

  addEnded(trace: OpenTrace): void {
    this.#open.delete(trace)
    this.#ended.push(trace)
    this.endedEvents += trace.events
  }

  /** When the first of what waits began to, or undefined if nothing does. */
  get oldestPerfMs(): number | undefined {
    const [first = this.#ended[this.#from]] = this.#open
    return first?.dirtySincePerfMs
  }

  /** Whether something waits since then, or for longer. */
  hasSince(perfMs: number): boolean {
    for (let i = this.#from; i < this.#ended.length; i++)
      if (((this.#ended[i] as OpenTrace).dirtySincePerfMs ?? 0) <= perfMs) return true
    for (const trace of this.#open) if ((trace.dirtySincePerfMs ?? 0) <= perfMs) return true
    return false
  }

  /** Takes what makes a frame: of the ended traces, and of the open ones whose news are older than `openBeforePerfMs`. */
  cut(openBeforePerfMs: number): Cut | undefined {
    const cut: Cut = {
      deltas: [],
      events: 0,
      freedBytes: 0,
      recordedPerfMs: Number.POSITIVE_INFINITY,
      begun: [],
    }
    let size = 0
    /** Whether all of it went. */
    const add = (trace: OpenTrace): boolean => {
      const before = trace.bytes
      const isFirst = !trace.isBegun
      cut.recordedPerfMs = Math.min(cut.recordedPerfMs, trace.dirtySincePerfMs ?? 0)
      const delta = trace.take(FRAME_MAX_BYTES - size)
      cut.freedBytes += before - trace.bytes
      cut.deltas.push(delta.text)
      cut.events += delta.events
      size += delta.text.length + 1
      if (isFirst && trace.end === undefined) cut.begun.push(trace)
      return !delta.rest
    }
    const hasRoom = (trace: OpenTrace): boolean =>
      cut.deltas.length === 0 ||
      (size + trace.bytes <= FRAME_MAX_BYTES && cut.events + trace.events <= FRAME_MAX_EVENTS)

    for (
      let trace = this.#ended[this.#from];
      trace !== undefined && hasRoom(trace);
      trace = this.#ended[this.#from]
    ) {
      this.endedEvents -= trace.events
      if (!add(trace)) {
        this.endedEvents += trace.events
        return cut
      }
      this.#from += 1
    }
    this.#tidy()
    for (const trace of this.#open) {
      if ((trace.dirtySincePerfMs ?? 0) > openBeforePerfMs || !hasRoom(trace)) break
      if (!add(trace)) break
      this.#open.delete(trace)
    }
    return cut.deltas.length === 0 ? undefined : cut
  }

  #tidy(): void {
    if (this.#from === this.#ended.length) {
      this.#ended = []
      this.#from = 0
      // What came after the end of its trace was not counted.
      this.endedEvents = 0
    } else if (this.#from > GONE_MAX) {
      this.#ended = this.#ended.slice(this.#from)
      this.#from = 0
    }
  }
}
