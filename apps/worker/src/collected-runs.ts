import { PartCopies, type RunPart, type Said } from '@stepwell/protocol'
import type { TraceDeltas } from '@stepwell/storage'
import type { Ticket } from './shard.ts'

/** Everything that is to be stored of a trace in one go, with the entries that it is of. */
export interface WithTickets extends TraceDeltas {
  /** Of each delta the entry that brought it. */
  tickets: readonly Ticket[]
  /** Bytes, about. */
  size: number
}

/** The same as it waits to be written. */
export interface Collected extends WithTickets {
  /** How often it was held up. */
  rests: number
}

/** Makes what is said of a run, where it is needed after all. */
export type SaidOf = (run: RunPart) => Said[]

/**
 * Runs that wait to be written, in memory of their own. Thousands do, and what each keeps alive is copied by the garbage collector meanwhile: so they are
 * objects no sooner than they are written.
 */
export class CollectedRuns {
  readonly #runs = new PartCopies()
  readonly #stretches: Stretch[] = []

  get length(): number {
    return this.#runs.length
  }

  add(run: RunPart, tickets: readonly Ticket[], size: number, said: SaidOf): void {
    this.#runs.add(run)
    const last = this.#stretches.at(-1)
    if (last?.tickets === tickets && last.size === size && last.said === said) last.length += 1
    else this.#stretches.push({ tickets, size, said, length: 1 })
  }

  /** Adds each to the list. Of one trace there may be two: a frame that was sent twice. */
  addTo(list: Collected[]): void {
    let i = 0
    for (const { tickets, size, said, length } of this.#stretches)
      for (const end = i + length; i < end; i++)
        list.push(new CollectedRun(this.#runs.at(i), tickets, size, said))
  }

  /** They are written, or will not be. What is to be kept of them has left before (`leave`). */
  free(): void {
    this.#runs.free()
  }
}

/** So many, one after the other, of which the same is known: those of one entry. */
interface Stretch {
  readonly tickets: readonly Ticket[]
  readonly size: number
  readonly said: SaidOf
  length: number
}

/** A run as it came. Parsed only where it has to be: because more is said of the trace, or it cannot be written. */
export class CollectedRun implements Collected {
  readonly known = false
  tickets: readonly Ticket[]
  size: number
  rests = 0
  #run: RunPart
  readonly #makeSaid: SaidOf
  #said: Said[] | undefined

  constructor(run: RunPart, tickets: readonly Ticket[], size: number, said: SaidOf) {
    this.tickets = tickets
    this.size = size
    this.#run = run
    this.#makeSaid = said
  }

  get traceId(): string {
    return this.#run.t
  }

  get startedAtMs(): number {
    return this.#run.startedAtMs
  }

  /** Undefined once there is a list of what is said, which others may add to. */
  get run(): RunPart | undefined {
    return this.#said === undefined ? this.#run : undefined
  }

  get said(): Said[] {
    this.#said ??= this.#makeSaid(this.#run)
    return this.#said
  }

  /** For when it is not written with the others, and may wait for long. */
  leave(): void {
    this.#run = this.#run.alone()
  }
}
