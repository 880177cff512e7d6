import type { ProducerCounters } from '@stepwell/protocol'

/** A frame on its way. Immutable: sent again it is the same. */
export interface OutgoingFrame {
  producer: string
  number: number
  shard: number
  deltaCount: number
  counters: ProducerCounters
  /** JSON text: an array of deltas. */
  deltas: string
  /** Events in it. 0: a sign of life. */
  events: number
}

/** Where frames go. Redis is one; `memorySink()` of `@stepwell/client/testing` another. */
export interface Sink {
  /**
   * Sends a frame. MUST resolve only when the other side has it, and reject when it may not: then the same frame is sent
   * again. MUST NOT throw.
   */
  send(frame: OutgoingFrame): Promise<void>
  /** Whether it needs nothing of a frame any more when `send` has resolved: then its memory is used again. Absent: it may keep frames. */
  readonly letsGo?: boolean
  /** Calls `send` once, at once; the frames that it sends may leave as one piece. Absent: each leaves by itself. */
  together?(send: () => void): void
  /** Whether frames can be handed over now. Asked before each. */
  isReady(): boolean
  /** Whether those who take the frames out are so far behind that what can wait should. Absent: never. */
  isBackedUp?(): boolean
  /** Called once: `ready` is to be called whenever frames can be handed over again. */
  onReady(ready: () => void): void
  /** Remembers the execution id for an hour. Best effort: MUST NOT throw or reject. */
  correlate(executionId: string, traceId: string): void
  /** The trace id of an execution id, or undefined; also when it cannot be asked. MUST NOT reject. */
  lookUp(executionId: string): Promise<string | undefined>
  /** While held, an idle process stays alive for the sake of the sink; calls nest. */
  hold(): void
  release(): void
  /** Ends connections of its own. MUST NOT reject. */
  close(): Promise<void>
}
