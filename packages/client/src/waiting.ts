import { FRAME_MAX_BYTES, type JsonBytes } from '@stepwell/protocol'
import type { OpenTrace } from './open-trace.ts'
import { WrittenDeltas } from './written-deltas.ts'

/** Events that make a frame worth sending. */
export const FRAME_MAX_EVENTS = 512
/** Where so many places of a list are empty it is worth a copy. */
const GONE_MAX = 4_096
const OPEN_LIST = 91
const COMMA = 44
const CLOSE_LIST = 93

/** The deltas of one frame. */
export interface Cut {
  deltas: number
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
  /** Before `#openFrom` they are gone; after it those that have ended meanwhile are passed over. */
  #open: OpenTrace[] = []
  #openFrom = 0

  /** An open trace with news. */
  addOpen(trace: OpenTrace): void {
    if (trace.isAmongOpen) return
    trace.isAmongOpen = true
    this.#open.push(trace)
  }

  addEnded(trace: OpenTrace): void {
    trace.isAmongOpen = false
    this.#ended.push(trace)
    this.endedEvents += trace.events
  }

  /** When the first of what waits began to, or undefined if nothing does. */
  get oldestPerfMs(): number | undefined {
    return (this.#firstOpen ?? this.#ended[this.#from])?.dirtySincePerfMs
  }

  /** Whether something waits since then, or for longer. */
  hasSince(perfMs: number): boolean {
    for (let i = this.#from; i < this.#ended.length; i++)
      if (((this.#ended[i] as OpenTrace).dirtySincePerfMs ?? 0) <= perfMs) return true
    for (let i = this.#openFrom; i < this.#open.length; i++) {
      const { isAmongOpen, dirtySincePerfMs = 0 } = this.#open[i] as OpenTrace
      if (isAmongOpen && dirtySincePerfMs <= perfMs) return true
    }
    return false
  }

  get #firstOpen(): OpenTrace | undefined {
    while (this.#open[this.#openFrom]?.isAmongOpen === false) this.#openFrom += 1
    return this.#open[this.#openFrom]
  }

  /** Takes what makes a frame: of the ended traces, and of the open ones whose news are older than `openBeforePerfMs`. */
  cut(openBeforePerfMs: number): { cut: Cut; written: WrittenDeltas } | undefined {
    const first = this.#firstOpen
    const isFirstDue = first !== undefined && (first.dirtySincePerfMs ?? 0) <= openBeforePerfMs
    if (this.#from === this.#ended.length && !isFirstDue) return undefined
    const cut: Cut = {
      deltas: 0,
      events: 0,
      freedBytes: 0,
      recordedPerfMs: Number.POSITIVE_INFINITY,
      begun: [],
    }
    const written = new WrittenDeltas((out) => {
      out.byte(OPEN_LIST)
      this.#writeTo(out, cut, openBeforePerfMs)
      out.byte(CLOSE_LIST)
    })
    return { cut, written }
  }

  #writeTo(out: JsonBytes, cut: Cut, openBeforePerfMs: number): void {
    const begin = out.length
    /** Whether all of it went. */
    const add = (trace: OpenTrace): boolean => {
      const before = trace.bytes
      const isFirst = !trace.isBegun
      cut.recordedPerfMs = Math.min(cut.recordedPerfMs, trace.dirtySincePerfMs ?? 0)
      const maxBytes = FRAME_MAX_BYTES - (out.length - begin)
      if (cut.deltas > 0) out.byte(COMMA)
      const { events, rest } = trace.take(out, maxBytes)
      cut.deltas += 1
      cut.freedBytes += before - trace.bytes
      cut.events += events
      if (isFirst && trace.end === undefined) cut.begun.push(trace)
      return !rest
    }
    const hasRoom = (trace: OpenTrace): boolean =>
      cut.deltas === 0 ||
      (out.length - begin + trace.bytes <= FRAME_MAX_BYTES && cut.events + trace.events <= FRAME_MAX_EVENTS)

    for (
      let trace = this.#ended[this.#from];
      trace !== undefined && hasRoom(trace);
      trace = this.#ended[this.#from]
    ) {
      this.endedEvents -= trace.events
      if (!add(trace)) {
        this.endedEvents += trace.events
        return
      }
      this.#from += 1
    }
    this.#tidy()
    for (let trace = this.#firstOpen; trace !== undefined; trace = this.#firstOpen) {
      if ((trace.dirtySincePerfMs ?? 0) > openBeforePerfMs || !hasRoom(trace)) break
      if (!add(trace)) break
      trace.isAmongOpen = false
    }
    this.#tidyOpen()
  }

  #tidyOpen(): void {
    if (this.#openFrom === this.#open.length) {
      this.#open = []
      this.#openFrom = 0
    } else if (this.#openFrom > GONE_MAX) {
      this.#open = this.#open.slice(this.#openFrom)
      this.#openFrom = 0
    }
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
