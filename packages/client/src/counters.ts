/**
 * Why events are lost: `buffer_full` (more recorded than sent for too long), `too_many_traces` (open at once), `unresolved`
 * (attached to an execution id that nobody knows), `closed` (recorded after close), `unsent` (could not be sent by the
 * end of close).
 */
export type DropReason = 'buffer_full' | 'too_many_traces' | 'unresolved' | 'closed' | 'unsent'

/**
 * What a tracer has counted since it began, in events: starts of traces, steps recorded or completed, ends. At all times
 * emitted = sent + dropped + buffered.
 */
export interface TracerCounters {
  emitted: number
  /** Acknowledged by Redis. */
  sent: number
  /** Recorded and not yet acknowledged, those on their way included. */
  buffered: number
  dropped: Partial<Record<DropReason, number>>
}

/** The counters of one tracer. `buffered` is what the others leave. */
export class Counters {
  emitted = 0
  sent = 0
  readonly dropped: Partial<Record<DropReason, number>> = {}
  #droppedTotal = 0

  drop(reason: DropReason, events: number): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + events
    this.#droppedTotal += events
  }

  get buffered(): number {
    return this.emitted - this.sent - this.#droppedTotal
  }

  snapshot(): TracerCounters {
    return { emitted: this.emitted, sent: this.sent, buffered: this.buffered, dropped: { ...this.dropped } }
  }
}
