import type { Said } from '@stepwell/protocol'
import type { Acker } from './acker.ts'
import type { Collector } from './collector.ts'
import type { Correlation } from './correlation.ts'
import type { Entry } from './entry.ts'
import { DUE, fold, foldFromEntries, type Heard, hear } from './fold.ts'
import {
  type DueIn,
  type Folding,
  foldingOf,
  foldingsOfEntry,
  foldingsOfRun,
  LATE_DUE_MS,
} from './foldings.ts'
import { GATHER_MAX_MS, saidOf } from './gathering.ts'
import { backoffMs, delay } from './outage.ts'
import { type RedisLike, redisCode, wrongType } from './script.ts'
import { noteFull, type Shard, type Ticket } from './shard.ts'
import { emptySorted, type Sorted, Sorter } from './sorter.ts'
import { StoppedError } from './store.ts'

/** What is sorted before it is passed on: 64 entries of a few bytes can unpack to 256 MiB. A usual read is one of these. */
const SORTED_MAX_SIZE = 2 << 20

/**
 * What happens to entries between reading and acking. Each is decoded, validated and sorted (`Sorter`); then its parts go their ways:
 * whole traces to the write batch (acked after the commit), every other delta into the open state (acked after that),
 * what is malformed to the dead letters. An entry is acked when all its parts have arrived.
 */
export class Intake {
  readonly #redis: RedisLike
  readonly #collector: Collector
  readonly #acker: Acker
  readonly #correlation: Correlation
  readonly #sorter: Sorter
  readonly #dueIn: DueIn
  /** How long runs gather: their first checkpoint waits for no more than a part of its time. */
  readonly gatherMs: number
  /** Milliseconds until a run that gathered in vain is due. */
  readonly #openDueInMs: number
  readonly #stop: AbortSignal
  readonly #onEnded: (shard: Shard) => void
  readonly #onEntries: (entries: number) => void
  readonly #onDeltas: (deltas: number) => void
  readonly #onTrouble: (error: unknown) => void

  constructor(options: {
    redis: RedisLike
    collector: Collector
    acker: Acker
    correlation: Correlation
    checkpointMs: number
    stop: AbortSignal
    /** Called when an end was folded: the trace is due. */
    onEnded: (shard: Shard) => void
    onEntries: (entries: number) => void
    onDeltas: (deltas: number) => void
    onTrouble: (error: unknown) => void
  }) {
    this.#redis = options.redis
    this.#collector = options.collector
    this.#acker = options.acker
    this.#correlation = options.correlation
    this.#dueIn = { soon: LATE_DUE_MS, checkpoint: options.checkpointMs }
    this.gatherMs = Math.min(GATHER_MAX_MS, options.checkpointMs / 5)
    this.#openDueInMs = options.checkpointMs - this.gatherMs
    this.#sorter = new Sorter({ ...options, dueIn: this.#dueIn, openDueInMs: this.#openDueInMs })
    this.#stop = options.stop
    this.#onEnded = options.onEnded
    this.#onEntries = options.onEntries
    this.#onDeltas = options.onDeltas
    this.#onTrouble = options.onTrouble
  }

  /**
   * Takes entries in hand. `redelivered`: they come from a worker that is gone, so what follows them may be stored already.
   * Resolves when their deltas are folded or in the write batch; in between it waits for room there, for a few bytes of entries
   * can unpack to a lot. Rejects only with StoppedError.
   */
  async take(shard: Shard, entries: readonly Entry[], redelivered = false): Promise<void> {
    const nowMs = Date.now()
    // All of them at once: what waits for its turn is ours, and kept so.
    const tickets = entries.map(([id]) => this.#ticketOf(shard, id))
    let sorted = emptySorted(this.#correlation.collect())
    for (const [i, [, fields]] of entries.entries()) {
      const ticket = tickets[i] as Ticket
      // Deleted from the stream while pending: there is nothing left to store.
      if (fields !== null) this.#sorter.sort(ticket, fields, redelivered, nowMs, sorted)
      // The part that stood for the decoding.
      this.#acker.partDone(ticket)
      if (sorted.size < SORTED_MAX_SIZE) continue
      await this.#pass(shard, sorted)
      sorted = emptySorted(this.#correlation.collect())
      await this.#collector.room()
      if (this.#stop.aborted) throw new StoppedError('stopped while entries wait for their turn')
    }
    this.#onEntries(entries.length)
    await this.#pass(shard, sorted)
  }

  /** Folds what has gathered for its time; `all`: everything. Rejects only with StoppedError. */
  async release(shard: Shard, all = false): Promise<void> {
    const runs = shard.gathering.take(all ? Number.POSITIVE_INFINITY : Date.now() - this.gatherMs)
    if (runs.length === 0) return
    const sorted = emptySorted(this.#correlation.collect())
    for (const run of runs) sorted.folds.push(...foldingsOfRun(run, this.#openDueInMs))
    await this.#pass(shard, sorted)
  }

  /** Takes an entry in hand that cannot be read: it becomes a dead letter. */
  refuse(shard: Shard, id: string, reason: string): void {
    const ticket = this.#ticketOf(shard, id)
    this.#sorter.letter(ticket, '', reason, '')
    this.#acker.partDone(ticket)
    this.#onEntries(1)
  }

  #ticketOf(shard: Shard, id: string): Ticket {
    const ticket: Ticket = { shard, id, producer: '', field: '', open: 1, dead: false }
    shard.inHand.set(id, ticket)
    return ticket
  }

  /** Folds what is to be folded, and hands over what cannot be. */
  async #pass(shard: Shard, sorted: Sorted): Promise<void> {
    const { entries, folds } = sorted
    this.#onDeltas(sorted.deltas)
    // What it holds is garbage as soon as it is sent.
    const correlated = this.#correlation.set(sorted.correlated)
    const refused = await this.#fold(shard, sorted)
    const isRefused = new Set(refused)
    const folded = folds.filter((item) => !isRefused.has(item))
    for (const { tickets } of folded) for (const ticket of tickets) this.#acker.partDone(ticket)
    for (const entry of entries)
      this.#acker.partDone(entry.ticket, entry.folded - refused.filter(({ from }) => from === entry).length)
    if (
      folded.some((item) => item.dueInMs === 0) ||
      entries.some(({ dues }) => dues.toLowerCase().includes(DUE.now))
    )
      this.#onEnded(shard)
    for (const folding of refused) {
      const { startedAtMs, tickets, size } = folding
      const said = saidOf(folding)
      const traceId = (said[0] as Said).delta.t
      this.#collector.add({ traceId, startedAtMs, said, tickets, size, known: true })
    }
    await correlated
    await this.#correlation.stored(sorted.over)
  }

  /**
   * Folds, however long Redis is away; gives those that it does not take: because it is full, or because somebody else put something
   * where our keys are. They go straight to Postgres instead, as running; acks and trimming make room again.
   */
  async #fold(shard: Shard, { entries, folds, heard }: Sorted): Promise<readonly Folding[]> {
    for (let attempt = 0; entries.length > 0 || folds.length > 0 || heard.size > 0; attempt++) {
      try {
        const refused: Folding[] = []
        const sent = [...folds]
        if (entries.length > 0) {
          for (const { entry, place } of await foldFromEntries(
            this.#redis,
            shard,
            entries,
            heard,
            this.#dueIn,
          )) {
            // Who else deletes from the stream does not make us lose what we have read.
            if (place === undefined) sent.push(...foldingsOfEntry(entry, this.#dueIn))
            else refused.push(foldingOf(entry, place, this.#dueIn))
          }
        }
        if (sent.length > 0 || entries.length === 0)
          refused.push(...(await fold(this.#redis, shard, sent, entries.length > 0 ? new Map() : heard)))
        if (refused.length > 0) this.#onTrouble(wrongType(shard.keys.open((refused[0] as Folding).trace)))
        return refused
      } catch (error) {
        const code = redisCode(error)
        if (code === 'WRONGTYPE') this.#onTrouble(wrongType(shard.keys.due))
        if (code === 'OOM' || code === 'WRONGTYPE') {
          const all = [...folds, ...entries.flatMap((entry) => foldingsOfEntry(entry, this.#dueIn))]
          if (code === 'OOM') await this.#noteFull(shard, all, heard, error)
          return all
        }
        // Unacked, so they come again, to whoever reads next.
        if (this.#stop.aborted) throw new StoppedError('stopped while Redis was unavailable')
        this.#onTrouble(error)
        await delay(backoffMs(attempt), this.#stop)
      }
    }
    return []
  }

  /** Redis is full: what it takes all the same is that producers live; and what was folded before of those that end is to come soon. */
  async #noteFull(
    shard: Shard,
    folds: readonly Folding[],
    heard: ReadonlyMap<string, Heard>,
    error: unknown,
  ): Promise<void> {
    noteFull(shard, Date.now())
    this.#onTrouble(error)
    const ended = folds.filter(({ dueInMs }) => dueInMs === 0).map(({ trace }) => trace)
    await hear(this.#redis, shard, heard, ended, LATE_DUE_MS).catch(this.#onTrouble)
  }
}
