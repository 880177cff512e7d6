import { openName, type RunPart } from '@stepwell/protocol'
import { compareKeys, type DeadLetter, type TraceDeltas, WRITE_MAX_TRACES } from '@stepwell/storage'
import type { Acker } from './acker.ts'
import {
  type Collected,
  CollectedRun,
  CollectedRuns,
  type SaidOf,
  type WithTickets,
} from './collected-runs.ts'
import { type LetterBox, letterOf } from './letter-box.ts'
import type { Ticket } from './shard.ts'
import { StoppedError, type Store } from './store.ts'

/**
 * One alone would leave Postgres idle while the next is assembled, and while it waits for the disk. With two, 1.69 of two cores are busy with
 * short runs, with three 1.79, with four 1.81; each is a connection that is taken.
 */
const WRITES_AT_ONCE = 3
/** How long traces rest that are held up while others are written: the first time, then twice as long each time. */
const REST_MS = 1_000
const REST_MAX_MS = 30_000

/**
 * The write batch: deltas that go to Postgres straight from the stream, and dead letters. Added → in the batch → (queued) →
 * written, with others, in one statement → its entry acked. A batch is full by count or bytes, or due when its first delta has
 * waited long enough; then it goes, as soon as fewer than three are being written. A due batch goes on growing until that.
 * What is held up, by a lock or for want of its month, rests, and is added to a later batch; it counts as held meanwhile.
 */
export class Collector {
  readonly #store: Store
  readonly #letterBox: LetterBox
  readonly #acker: Acker
  readonly #stop: AbortSignal
  readonly #limits: { maxTraces: number; maxBytes: number; maxWaitMs: number; maxHeldBytes: number }
  readonly #onWritten: (traces: number) => void
  #batch = new Batch()
  #timer: NodeJS.Timeout | undefined
  #isDue = false
  /** Full, and not being written yet. */
  #queue: Batch[] = []
  readonly #writing = new Set<Batch>()
  #heldBytes = 0
  #waiting: (() => void)[] = []

  constructor(options: {
    store: Store
    letterBox: LetterBox
    acker: Acker
    stop: AbortSignal
    onWritten: (traces: number) => void
    /** Default: 500 traces, 4 MiB, 5 ms; reading pauses while 1 MiB is held. */
    limits?: { maxTraces: number; maxBytes: number; maxWaitMs: number; maxHeldBytes: number }
  }) {
    this.#store = options.store
    this.#letterBox = options.letterBox
    this.#acker = options.acker
    this.#stop = options.stop
    // Room may never come then.
    this.#stop.addEventListener('abort', () => this.#wake(), { once: true })
    this.#onWritten = options.onWritten
    this.#limits = options.limits ?? {
      maxTraces: 500,
      maxBytes: 4 << 20,
      maxWaitMs: 5,
      // As text; decoded they take about ten times as much, and V8 twice that. Three writes of runs of ten steps are 0.6 MiB: what waits behind
      // more than the next of them is only copied by the garbage collector.
      maxHeldBytes: 1 << 20,
    }
    if (this.#limits.maxTraces > WRITE_MAX_TRACES)
      throw new RangeError(`maxTraces is at most ${WRITE_MAX_TRACES}`)
  }

  /** Adds deltas of a trace; their tickets have a part done each when they are committed. */
  add(deltas: WithTickets): void {
    this.#put({ ...deltas, rests: 0 })
  }

  /** Adds a run that came whole, or gathered; as `add`. `said`: makes what is said of it, where that is needed after all. */
  addRun(run: RunPart, tickets: readonly Ticket[], size: number, said: SaidOf): void {
    this.#batch.runs.add(run, tickets, size, said)
    this.#grow(size)
  }

  /** Adds a dead letter; its ticket has a part done, and is dead, when it is committed. */
  addDead(ticket: Ticket, letter: DeadLetter): void {
    ticket.dead = true
    this.#batch.letters.push({ ticket, letter })
    // One more: a batch of what has no size would not be due.
    this.#grow(letter.payload.length + 1)
  }

  /** Resolves when there is room for more, or the worker stops. */
  async room(): Promise<void> {
    while (this.#heldBytes > this.#limits.maxHeldBytes && !this.#stop.aborted)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Writes what is there; resolves when all that was added before is written, or cannot be because the worker stops. */
  async flush(): Promise<void> {
    this.#isDue = true
    this.#next()
    await Promise.all(
      [...this.#writing, ...this.#queue, this.#batch].map((batch) => batch.bytes > 0 && batch.done),
    )
  }

  #put(added: Collected): void {
    const { traces } = this.#batch
    const key = openName(added.traceId, added.startedAtMs)
    const trace = traces.get(key)
    if (trace === undefined) traces.set(key, added)
    else join(trace, added)
    this.#grow(added.size)
  }

  #rest(traces: readonly Collected[]): void {
    for (const trace of traces) {
      if (trace instanceof CollectedRun) trace.leave()
      this.#heldBytes += trace.size
      const ms = Math.min(REST_MAX_MS, REST_MS * 2 ** trace.rests++)
      setTimeout(() => {
        // Unacked, so they come again, to whoever reads next.
        if (this.#stop.aborted) return
        this.#heldBytes -= trace.size
        this.#put(trace)
      }, ms).unref()
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #grow(size: number): void {
    this.#batch.bytes += size
    this.#heldBytes += size
    const { maxTraces, maxBytes, maxWaitMs } = this.#limits
    if (this.#batch.length >= maxTraces || this.#batch.bytes >= maxBytes) {
      this.#queue.push(this.#take())
      this.#next()
    } else {
      this.#timer ??= setTimeout(() => {
        this.#isDue = true
        this.#next()
      }, maxWaitMs)
    }
  }

  #take(): Batch {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    const batch = this.#batch
    this.#batch = new Batch()
    return batch
  }

  #next(): void {
    while (this.#writing.size < WRITES_AT_ONCE) {
      const batch = this.#queue.shift() ?? (this.#isDue && this.#batch.bytes > 0 ? this.#take() : undefined)
      if (batch === undefined) return
      this.#writing.add(batch)
      this.#write(batch)
        .catch((error: unknown) => {
          if (!(error instanceof StoppedError)) throw error
        })
        .finally(() => {
          this.#writing.delete(batch)
          this.#heldBytes -= batch.bytes
          batch.runs.free()
          batch.finish()
          this.#next()
          this.#wake()
        })
    }
  }

  async #write(batch: Batch): Promise<void> {
    const { letters } = batch
    const traces = batch.each()
    const { guilty, waiting } = await this.#store.write(traces)
    this.#rest(waiting as Collected[])
    const resting = new Set(waiting)
    const refused = new Set<TraceDeltas>()
    for (const { trace, error } of guilty) {
      refused.add(trace)
      for (const [i, said] of trace.said.entries()) {
        const ticket = (trace as Collected).tickets[i] as Ticket
        ticket.dead = true
        letters.push({ ticket, letter: letterOf(ticket, said.delta, ticket.producer, error) })
      }
    }
    if (letters.length > 0) await this.#letterBox.put(letters.map(({ letter }) => letter))
    this.#onWritten(traces.length - refused.size - resting.size)
    // By number: an iterator makes an object for each.
    for (let i = 0; i < traces.length; i++) {
      const trace = traces[i] as Collected
      if (refused.has(trace) || resting.has(trace)) continue
      const { tickets } = trace
      for (let k = 0; k < tickets.length; k++) this.#acker.partDone(tickets[k] as Ticket)
    }
    for (const { ticket } of letters) this.#acker.partDone(ticket)
  }
}

class Batch {
  finish = (): void => {}
  /** Resolves when it is written, or cannot be because the worker stops. */
  readonly done = new Promise<void>((resolve) => {
    this.finish = resolve
  })
  readonly runs = new CollectedRuns()
  readonly traces = new Map<string, Collected>()
  readonly letters: { ticket: Ticket; letter: DeadLetter }[] = []
  bytes = 0

  get length(): number {
    return this.runs.length + this.traces.size
  }

  /** What is in it, in the order of the keys, each trace once. */
  each(): Collected[] {
    const all: Collected[] = [...this.traces.values()]
    this.runs.addTo(all)
    all.sort(compareKeys)
    let length = 0
    for (let i = 0; i < all.length; i++) {
      const next = all[i] as Collected
      const last = length === 0 ? undefined : (all[length - 1] as Collected)
      if (last !== undefined && compareKeys(last, next) === 0) join(last, next)
      else all[length++] = next
    }
    all.length = length
    return all
  }
}

/** What came later is said of the same trace. */
function join(trace: Collected, added: Collected): void {
  trace.said.push(...added.said)
  trace.tickets = [...trace.tickets, ...added.tickets]
  trace.size += added.size
  trace.rests = Math.max(trace.rests, added.rests)
}
