import {
  type Delta,
  encodeObject,
  encodeTold,
  isCuttable,
  openName,
  parseTraceId,
  RunPart,
  type Said,
  WholeRun,
} from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import { boundPayload, type DeadLetter, PAYLOAD_MAX_LENGTH } from '@stepwell/storage'
import type { Acker } from './acker.ts'
import type { Collector } from './collector.ts'
import type { Correlation } from './correlation.ts'
import { DUE, fold, foldFromEntries, type Heard, hear, joining } from './fold.ts'
import {
  type DueIn,
  type Folding,
  type FoldingEntry,
  foldingOf,
  foldingsOfEntry,
  foldingsOfRun,
  LATE_DUE_MS,
  recordOf,
  startOfRead,
} from './foldings.ts'
import { GATHER_MAX_MS, plainRunOf, saidOf } from './gathering.ts'
import { backoffMs, delay } from './outage.ts'
import { type RedisLike, redisCode, wrongType } from './script.ts'
import { entryMs, entryTimeMs, noteFull, type Shard, type Ticket } from './shard.ts'
import { StoppedError } from './store.ts'

/** A stream entry: id, and fields and values in turn; null where it was deleted from the stream. */
export type Entry = [id: string, fields: string[] | null]

/** What came of some entries. */
interface Sorted {
  entries: FoldingEntry[]
  folds: Folding[]
  heard: Map<string, Heard>
  correlations: Map<string, string>
  /** Of runs that gathered and are over, by execution id. */
  over: Map<string, string>
  deltas: number
  /** Unpacked, in UTF-16 units. */
  size: number
}

const emptySorted = (): Sorted => ({
  entries: [],
  folds: [],
  heard: new Map(),
  correlations: new Map(),
  over: new Map(),
  deltas: 0,
  size: 0,
})

/** What is sorted before it is passed on: 64 entries of a few bytes can unpack to 256 MiB. A usual read is one of these. */
const SORTED_MAX_SIZE = 2 << 20

/**
 * What happens to entries between reading and acking. Each is decoded and validated; then its parts go their ways:
 * whole traces to the write batch (acked after the commit), every other delta into the open state (acked after that),
 * what is malformed to the dead letters. An entry is acked when all its parts have arrived.
 */
export class Intake {
  readonly #redis: RedisLike
  readonly #collector: Collector
  readonly #acker: Acker
  readonly #correlation: Correlation
  readonly #dueIn: DueIn
  /** How long runs gather: their first checkpoint waits for no more than a part of its time. */
  readonly gatherMs: number
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
    let sorted = emptySorted()
    for (const [i, [, fields]] of entries.entries()) {
      const ticket = tickets[i] as Ticket
      // Deleted from the stream while pending: there is nothing left to store.
      if (fields !== null) this.#sort(ticket, fields, redelivered, nowMs, sorted)
      // The part that stood for the decoding.
      this.#acker.partDone(ticket)
      if (sorted.size < SORTED_MAX_SIZE) continue
      await this.#pass(shard, sorted)
      sorted = emptySorted()
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
    const sorted = emptySorted()
    for (const run of runs) sorted.folds.push(...foldingsOfRun(run, this.#dueIn.checkpoint - this.gatherMs))
    await this.#pass(shard, sorted)
  }

  /** Takes an entry in hand that cannot be read: it becomes a dead letter. */
  refuse(shard: Shard, id: string, reason: string): void {
    const ticket = this.#ticketOf(shard, id)
    this.#letter(ticket, '', reason, '')
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
    await this.#correlation.set(sorted.correlations)
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

  /** Sends the parts of one entry on their ways. */
  #sort(ticket: Ticket, fields: string[], redelivered: boolean, nowMs: number, sorted: Sorted): void {
    const { folds, heard, correlations } = sorted
    const { id } = ticket
    const decoded = readFrame(fields, nowMs)
    if (!decoded.ok) {
      const payload = payloadOf(fields.map((field) => field.slice(0, PAYLOAD_MAX_LENGTH)))
      this.#letter(ticket, '', decoded.reason, payload)
      sorted.size += payload.length
      return
    }
    const { frame, deltas, refused } = decoded
    sorted.size += decoded.size
    sorted.deltas += deltas.length
    const { producer, number: frameNumber } = frame
    ticket.producer = producer
    const ms = entryTimeMs(id)
    if (ms > (heard.get(producer)?.ms ?? 0)) heard.set(producer, { ms, told: encodeTold(ms, frame.counters) })
    for (const [i, { value, reason }] of refused.entries())
      this.#letter(ticket, `/${i}`, reason, payloadOf(value), { producer, ...traceOf(value) })
    const size = Math.ceil(decoded.size / Math.max(1, deltas.length))
    const sentMs = entryMs(id)
    const field = `${producer}:${frameNumber}`
    ticket.field = field
    const toFold: { delta: Delta | RunPart; startedAtMs: number; late: boolean }[] = []
    let dues = ''
    let isUsual = refused.length === 0
    for (const delta of deltas) {
      ticket.open += 1
      if (delta instanceof WholeRun) {
        if (delta.executionId !== null && this.#correlation.keep !== 'open')
          correlations.set(delta.executionId, delta.t)
        this.#collector.addRun(delta, [ticket], size, () => [{ producer: '', delta: delta.delta() }])
        dues += DUE.isNotFolded
        continue
      }
      const startedAtMs = startOfRead(delta)
      const whole = delta.b !== undefined && delta.e !== undefined
      if (delta.x !== undefined && delta.k !== undefined && !(whole && this.#correlation.keep === 'open')) {
        correlations.set(delta.x, delta.t)
      }
      if (whole) {
        const said = [{ producer: '', delta: delta as Delta }]
        this.#collector.add({ traceId: delta.t, startedAtMs, said, tickets: [ticket], size, known: false })
        dues += DUE.isNotFolded
        continue
      }
      const isOurs = delta instanceof RunPart || (delta.at === undefined && delta.l === undefined)
      const late = redelivered || sentMs - startedAtMs > LATE_DUE_MS
      // What follows a beginning that comes late may be stored already, and wait for it.
      const mayGather = isOurs && !redelivered && !(late && delta.b !== undefined)
      if (mayGather && this.#gathers(ticket, delta, startedAtMs, nowMs, sorted)) {
        dues += DUE.isNotFolded
        continue
      }
      toFold.push({ delta, startedAtMs, late })
      const due = delta.e !== undefined ? DUE.now : delta.b === undefined || late ? DUE.soon : DUE.checkpoint
      dues += delta.b !== undefined || delta.k === undefined ? joining(due) : due
      isUsual &&= isOurs
    }
    if (toFold.length === 0) return
    const traces = new Set(toFold.map(({ delta }) => delta.t))
    if (
      isUsual &&
      traces.size === toFold.length &&
      decoded.text !== undefined &&
      isCuttable(decoded.text, deltas)
    ) {
      sorted.entries.push({ id, ticket, producer, field, dues, deltas, folded: toFold.length, size })
      return
    }
    traces.clear()
    for (const [i, { delta, startedAtMs, late }] of toFold.entries()) {
      const trace = openName(delta.t, startedAtMs)
      folds.push({
        trace,
        producer,
        texts: [recordOf(delta)],
        // A frame has one delta a trace; where a producer breaks that, none may hide another.
        fields: [traces.has(trace) ? `${field}.${i}` : field],
        tickets: [ticket],
        startedAtMs,
        size,
        dueInMs: this.#dueInMs(delta, startedAtMs, nowMs, late),
      })
      traces.add(trace)
    }
  }

  /** Whether the delta gathers, or goes with what gathered. */
  #gathers(
    ticket: Ticket,
    delta: Delta | RunPart,
    startedAtMs: number,
    nowMs: number,
    sorted: Sorted,
  ): boolean {
    const run = ticket.shard.gathering.add(ticket, delta, startedAtMs, nowMs)
    if (typeof run === 'string') return run === 'kept'
    if (delta.e === undefined)
      sorted.folds.push(...foldingsOfRun(run, this.#dueIn.checkpoint - this.gatherMs))
    else {
      const { trace: traceId, tickets, size } = run
      const plain = plainRunOf(run, delta)
      let executionId = plain?.executionId
      if (plain !== undefined) this.#collector.addRun(plain, tickets, size, () => saidOf(run))
      else {
        const said = saidOf(run)
        this.#collector.add({ traceId, startedAtMs, said, tickets, size, known: false })
        executionId = said.find(({ delta }) => delta.x !== undefined)?.delta.x
      }
      sorted.size += size
      if (executionId) sorted.over.set(executionId, traceId)
    }
    return true
  }

  #dueInMs(delta: Delta | RunPart, startedAtMs: number, nowMs: number, late: boolean): number {
    if (delta.e !== undefined) return 0
    if (delta.b === undefined || late) return LATE_DUE_MS
    const untilLimit =
      delta instanceof RunPart || delta.l === undefined
        ? Number.POSITIVE_INFINITY
        : startedAtMs + delta.l - nowMs
    return Math.max(1, Math.ceil(Math.min(this.#dueIn.checkpoint, untilLimit)))
  }

  #letter(
    ticket: Ticket,
    place: string,
    reason: string,
    payload: string,
    from: Pick<DeadLetter, 'producer' | 'traceId'> = {},
  ): void {
    ticket.open += 1
    const stream = ticket.shard.keys.events
    const letter = {
      letterId: `${stream}/${ticket.id}${place}`,
      stream,
      entryId: ticket.id,
      reason,
      payload,
    }
    this.#collector.addDead(ticket, { ...letter, ...from })
  }
}

/** The trace that a refused delta names, if it does: where it went is asked by its id. */
function traceOf(value: unknown): Pick<DeadLetter, 'traceId'> {
  const t = (value as { t?: unknown } | null)?.t
  const traceId = typeof t === 'string' ? parseTraceId(t) : undefined
  return traceId === undefined ? {} : { traceId }
}

/** What was refused, as JSON text: exactly, unless it is too long to be kept or nests so deep that it cannot be written. */
function payloadOf(value: unknown): string {
  try {
    return boundPayload(JSON.stringify(value))
  } catch {
    return encodeObject(value, PAYLOAD_MAX_LENGTH)
  }
}
