import type { TraceDeltas, TraceWriter, Written } from '@stepwell/storage'
import { isConflict, isOfStatement, isTransient } from '@stepwell/storage'
import { backoffMs, delay, type OutageGate } from './outage.ts'

/** The worker stops before the write could succeed; its entries stay pending and are delivered again. */
export class StoppedError extends Error {}

/** Of a month of which this many traces are held up, one after the other, the rest is not tried: each try may wait for a time-out. */
const HELD_UP_MAX = 3

/** So often, within ten seconds or so, a trace is tried in turn with the probe where what refuses it says nothing of its row. */
const REFUSED_MAX = 9
/** So long after such a trace others are not given that time again. */
const REFUSED_REMEMBERED_MS = 60_000

/** What became of a batch. */
export interface StoreOutcome {
  written: Written[]
  /** Traces that the database refuses for what is in them, or for a month that cannot be made. */
  guilty: { trace: TraceDeltas; error: Error }[]
  /** Traces that cannot be written just now while others can, for their rows are locked or their month cannot be made: for later. */
  waiting: TraceDeltas[]
}

/**
 * Stores a batch through every failure: what may pass is tried again, with the gate closed meanwhile; what will not is
 * narrowed down by halving. A trace is guilty only if it fails alone while a harmless row would go in (the probe);
 * if that fails too, it is nobody's fault in the batch: the gate closes and all is tried again. Rights may be given between the two: what
 * refuses the statement, and not the row, counts only if it goes on to refuse this trace while the probe goes in.
 * What is locked, or has a month without a partition, holds up nothing else: it waits if what is in its way may pass, else it is guilty.
 * Rejects only with StoppedError.
 */
export class Store {
  readonly #writer: Pick<TraceWriter, 'cover' | 'write' | 'probe'>
  readonly #gate: OutageGate
  readonly #stop: AbortSignal
  readonly #onTrouble: (error: unknown) => void
  /** When a trace was last judged for what says nothing of its row. */
  #refusedMs = 0

  constructor(
    writer: Pick<TraceWriter, 'cover' | 'write' | 'probe'>,
    gate: OutageGate,
    stop: AbortSignal,
    onTrouble: (error: unknown) => void = () => {},
  ) {
    this.#writer = writer
    this.#gate = gate
    this.#stop = stop
    this.#onTrouble = onTrouble
  }

  async write(traces: readonly TraceDeltas[]): Promise<StoreOutcome> {
    const outcome: StoreOutcome = { written: [], guilty: [], waiting: [] }
    for (let left = traces, attempt = 0; ; attempt++) {
      const lacking = await this.#writer.cover(left)
      const placed = lacking.size === 0 ? left : left.filter((trace) => !lacking.has(trace))
      if (placed.length > 0) await this.#write(placed, outcome)
      if (lacking.size === 0) return outcome
      left = [...lacking.keys()]
      const harmless = await this.#persist(() => this.#writer.probe())
      if (harmless === undefined) {
        // What the probe waited for may have been what was wrong.
        const still = await this.#writer.cover(left)
        for (const [reason, traces] of Map.groupBy(still.keys(), (trace) => still.get(trace)))
          this.#putAside(traces, reason as Error, outcome)
        left = left.filter((trace) => !still.has(trace))
      } else {
        this.#gate.close(harmless)
        await this.#pause(attempt)
      }
      if (left.length === 0) return outcome
    }
  }

  /** Traces of a month that cannot be made, for this reason. */
  #putAside(traces: readonly TraceDeltas[], reason: Error, outcome: StoreOutcome): void {
    const month = monthText(traces[0] as TraceDeltas)
    const error = new Error(`the partition of ${month} cannot be made: ${reason.message}`, { cause: reason })
    this.#onTrouble(error)
    if (isTransient(reason)) {
      this.#gate.tried()
      outcome.waiting.push(...traces)
    } else outcome.guilty.push(...traces.map((trace) => ({ trace, error })))
  }

  async #write(traces: readonly TraceDeltas[], outcome: StoreOutcome): Promise<void> {
    const write = async (): Promise<void> => {
      outcome.written.push(...(await this.#writer.write(traces)))
    }
    const failure = await this.#persist(write)
    if (failure === undefined) return
    if (isTransient(failure)) return this.#writeOneByOne(traces, outcome)
    if (traces.length > 1) {
      const middle = traces.length >> 1
      await this.#write(traces.slice(0, middle), outcome)
      await this.#write(traces.slice(middle), outcome)
      return
    }
    for (let attempt = 1; ; attempt++) {
      await this.persist(() => this.#writer.probe())
      // As above.
      const again = await this.#persist(write)
      if (again === undefined) return
      const isKnown = Date.now() - this.#refusedMs < REFUSED_REMEMBERED_MS
      if (!isOfStatement(again) || isKnown || attempt === REFUSED_MAX) {
        if (isOfStatement(again)) this.#refusedMs = Date.now()
        outcome.guilty.push({ trace: traces[0] as TraceDeltas, error: again })
        return
      }
      this.#onTrouble(again)
      this.#gate.tried()
      await this.#pause(attempt)
    }
  }

  /** For traces of which some are held up: the others get through. One that is free takes half a millisecond. */
  async #writeOneByOne(traces: readonly TraceDeltas[], outcome: StoreOutcome): Promise<void> {
    const heldUp = new Map<string, number>()
    for (const trace of traces) {
      this.#refuseWhenStopped()
      const month = monthText(trace)
      const count = heldUp.get(month) ?? 0
      try {
        if (count < HELD_UP_MAX) outcome.written.push(...(await this.#writer.write([trace])))
        else outcome.waiting.push(trace)
      } catch (error) {
        if (isTransient(error)) {
          this.#onTrouble(error)
          heldUp.set(month, count + 1)
          this.#gate.tried()
          outcome.waiting.push(trace)
        } else await this.#write([trace], outcome)
      }
    }
  }

  /** Does it until it succeeds, or fails for good or for a conflict while the database takes rows; returns that failure. */
  async #persist(action: () => Promise<void>): Promise<Error | undefined> {
    for (let attempt = 0; ; attempt++) {
      try {
        await action()
        this.#gate.open()
        return undefined
      } catch (error) {
        if (!isTransient(error)) return error as Error
        this.#onTrouble(error)
        if (attempt > 0 && isConflict(error) && (await this.#takesRows())) return error as Error
        // A single failure is no outage: a deadlock, a connection that broke while nobody used it.
        if (attempt > 0) this.#gate.close(error)
        await this.#pause(attempt)
      }
    }
  }

  async #takesRows(): Promise<boolean> {
    try {
      await this.#writer.probe()
      this.#gate.open()
      return true
    } catch (error) {
      this.#onTrouble(error)
      return false
    }
  }

  async #pause(attempt: number): Promise<void> {
    await delay(backoffMs(attempt), this.#stop)
    this.#refuseWhenStopped()
  }

  #refuseWhenStopped(): void {
    if (this.#stop.aborted) throw new StoppedError('stopped while the database was unavailable')
  }

  /** Does what must succeed and hangs on no row: whatever fails is an outage. Rejects only with StoppedError. */
  async persist(action: () => Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const failure = await this.#persist(action)
      if (failure === undefined) return
      this.#gate.close(failure)
      await this.#pause(attempt)
    }
  }
}

const monthText = ({ startedAtMs }: TraceDeltas): string => new Date(startedAtMs).toISOString().slice(0, 7)
