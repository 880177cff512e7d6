import type { DropReason } from './counters.ts'
import { errorText } from './given-values.ts'

/** What a tracer tells its host, at most twice an episode: when trouble begins, and when it is over. */
export interface TracerReport {
  kind: 'trouble' | 'recovered'
  message: string
  /** Events lost since the episode before, by reason: some may be the rest of a run whose start was lost in that. */
  dropped: Partial<Record<DropReason, number>>
}

/**
 * One report at the beginning of trouble and one at its end. Quiet → in trouble (a frame could not be sent, or an event
 * was dropped) → quiet (the sender says that it is over).
 */
export class Episode {
  readonly #report: (report: TracerReport) => void
  #dropped: Partial<Record<DropReason, number>> = {}
  #inTrouble = false

  constructor(report: (report: TracerReport) => void) {
    this.#report = report
  }

  /** Whether there is trouble. */
  get isOn(): boolean {
    return this.#inTrouble
  }

  sendFailed(error: unknown): void {
    this.#begin(
      `Redis does not take traces (${errorText(error)}): they are kept in memory up to the limit, and sent when it does`,
    )
  }

  /** Counts for the report of this episode or the next. */
  lost(reason: DropReason, events: number): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + events
  }

  dropped(reason: DropReason, events: number): void {
    this.lost(reason, events)
    // What was recorded after close is counted and nothing more: there is nobody to recover.
    if (reason !== 'closed') this.#begin(`trace events are being dropped (${reason})`)
  }

  /** Frames go through again. */
  end(): void {
    if (!this.#inTrouble) return
    this.#inTrouble = false
    const dropped = this.#dropped
    this.#dropped = {}
    const lost = Object.entries(dropped).map(([reason, events]) => `${events} ${reason}`)
    this.#tell({
      kind: 'recovered',
      message: `traces are sent again; events lost meanwhile: ${lost.length === 0 ? 'none' : lost.join(', ')}`,
      dropped,
    })
  }

  #begin(message: string): void {
    if (this.#inTrouble) return
    this.#inTrouble = true
    this.#tell({ kind: 'trouble', message, dropped: { ...this.#dropped } })
  }

  #tell(report: TracerReport): void {
    try {
      // A reporter that throws or rejects must not reach the host's code that happened to record something.
      const answer: unknown = this.#report(report)
      if (answer instanceof Promise) answer.catch(() => {})
    } catch {}
  }
}

/** Default reporter: a process warning. */
export function warn({ message }: TracerReport): void {
  process.emitWarning(message, 'StepwellWarning')
}
