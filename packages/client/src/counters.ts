/**
 * Why events are lost: `buffer_full` (more recorded than sent for too long), `backlog` (the same, because workers are too far behind), `too_many_traces` (open at once), `unresolved`
 * (attached to an execution id that nobody knows), `closed` (recorded after close), `unsent` (could not be sent by the
 * end of close), `spool_full` (and there was no room on disk either).
 */
export type DropReason =
  | 'buffer_full'
  | 'backlog'
  | 'too_many_traces'
  | 'unresolved'
  | 'closed'
  | 'unsent'
  | 'spool_full'

/**
 * What a tracer has counted since it began, in events: starts of traces, steps recorded or completed, ends. At all times
 * emitted = sent + spooled + dropped + buffered.
 */
export interface TracerCounters {
  emitted: number
  /** Acknowledged by Redis. */
  sent: number
  /** Recorded and not yet acknowledged, those on their way included. */
  buffered: number
  /** Written to the spool folder, from where a later start sends them. Absent without one. */
  spooled?: number
  dropped: Partial<Record<DropReason, number>>
}

/** The counters of one tracer. `buffered` is what the others leave. */
export class Counters {
  emitted = 0
  sent = 0
  /** undefined: there is no spool. */
  spooled: number | undefined
  readonly dropped: Partial<Record<DropReason, number>> = {}
  #droppedTotal = 0

  drop(reason: DropReason, events: number): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + events
    this.#droppedTotal += events
  }

  get buffered(): number {
    return this.emitted - this.sent - (this.spooled ?? 0) - this.#droppedTotal
  }

  snapshot(): TracerCounters {
    const { emitted, sent, buffered, spooled } = this
    return {
      emitted,
      sent,
      buffered,
      ...(spooled === undefined ? {} : { spooled }),
      dropped: { ...this.dropped },
    }
  }
}
