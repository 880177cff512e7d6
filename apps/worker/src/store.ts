import type { TraceDeltas, TraceWriter, Written } from '@stepwell/storage'
import { isTransient } from '@stepwell/storage'
import { backoffMs, delay, type OutageGate } from './outage.ts'

/** The worker stops before the write could succeed; its entries stay pending and are delivered again. */
export class StoppedError extends Error {}

/** What became of a batch. */
export interface StoreOutcome {
  written: Written[]
  /** Traces that the database refuses for what is in them. */
  guilty: { trace: TraceDeltas; error: Error }[]
}

/**
 * Stores a batch through every failure: what may pass is tried again, with the gate closed meanwhile; what will not is
 * narrowed down by halving. A trace is guilty only if it fails alone while a harmless row would go in (the probe);
 * if that fails too, it is nobody's fault in the batch: the gate closes and all is tried again.
 * Rejects only with StoppedError.
 */
export class Store {
  readonly #writer: Pick<TraceWriter, 'write' | 'probe'>
  readonly #gate: OutageGate
  readonly #stop: AbortSignal

  constructor(writer: Pick<TraceWriter, 'write' | 'probe'>, gate: OutageGate, stop: AbortSignal) {
    this.#writer = writer
    this.#gate = gate
    this.#stop = stop
  }

  async write(traces: readonly TraceDeltas[]): Promise<StoreOutcome> {
    const outcome: StoreOutcome = { written: [], guilty: [] }
    await this.#write(traces, outcome)
    return outcome
  }

  async #write(traces: readonly TraceDeltas[], outcome: StoreOutcome): Promise<void> {
    const failure = await this.#persist(async () => {
      outcome.written.push(...(await this.#writer.write(traces)))
    })
    if (failure === undefined) return
    if (traces.length > 1) {
      const middle = traces.length >> 1
      await this.#write(traces.slice(0, middle), outcome)
      await this.#write(traces.slice(middle), outcome)
      return
    }
    for (let attempt = 0; ; attempt++) {
      const harmless = await this.#persist(() => this.#writer.probe())
      if (harmless === undefined) break
      this.#gate.close(harmless)
      await this.#pause(attempt)
    }
    this.#gate.open()
    // What the probe waited for may have been what was wrong.
    const again = await this.#persist(async () => {
      outcome.written.push(...(await this.#writer.write(traces)))
    })
    if (again !== undefined) outcome.guilty.push({ trace: traces[0] as TraceDeltas, error: again })
  }

  /** Does it until it succeeds or fails for good; returns that failure. */
  async #persist(action: () => Promise<void>): Promise<Error | undefined> {
    for (let attempt = 0; ; attempt++) {
      try {
        await action()
        this.#gate.open()
        return undefined
      } catch (error) {
        if (!isTransient(error)) return error as Error
        this.#gate.close(error)
        await this.#pause(attempt)
      }
    }
  }

  async #pause(attempt: number): Promise<void> {
    await delay(backoffMs(attempt), this.#stop)
    if (this.#stop.aborted) throw new StoppedError('stopped while the database was unavailable')
  }

  /** Runs another write through the same patience. Throws what will not pass. */
  async persist(action: () => Promise<void>): Promise<void> {
    const failure = await this.#persist(action)
    if (failure !== undefined) throw failure
  }
}
