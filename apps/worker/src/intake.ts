import { encodeObject, encodeTold, openName } from '@stepwell/protocol'
import { decodeFrame, startOf } from '@stepwell/protocol/schema'
import { PAYLOAD_MAX_LENGTH } from '@stepwell/storage'
import type { Acker } from './acker.ts'
import type { Collector } from './collector.ts'
import type { Correlation } from './correlation.ts'
import { type Fold, fold, type Heard } from './open-state.ts'
import { backoffMs, delay } from './outage.ts'
import { type RedisLike, redisCode } from './script.ts'
import { entryMs, entryTimeMs, type Shard, type Ticket } from './shard.ts'
import { StoppedError } from './store.ts'

/** A stream entry: id, and fields and values in turn; null where it was deleted from the stream. */
export type Entry = [id: string, fields: string[] | null]

interface Folding extends Fold {
  ticket: Ticket
  startedAtMs: number
  size: number
}

/**
 * A trace that may have ended already is looked at after this long: one without a known beginning, and one whose beginning
 * comes late, so that other workers may have stored its end.
 */
const LATE_DUE_MS = 1_000

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
  readonly #checkpointMs: number
  readonly #stop: AbortSignal
  readonly #onEnded: (shard: Shard) => void
  readonly #onEntries: (entries: number, deltas: number) => void

  constructor(options: {
    redis: RedisLike
    collector: Collector
    acker: Acker
    correlation: Correlation
    checkpointMs: number
    stop: AbortSignal
    /** Called when an end was folded: the trace is due. */
    onEnded: (shard: Shard) => void
    onEntries: (entries: number, deltas: number) => void
  }) {
    this.#redis = options.redis
    this.#collector = options.collector
    this.#acker = options.acker
    this.#correlation = options.correlation
    this.#checkpointMs = options.checkpointMs
    this.#stop = options.stop
    this.#onEnded = options.onEnded
    this.#onEntries = options.onEntries
  }

  /**
   * Takes entries in hand. `redelivered`: they come from a worker that is gone, so what follows them may be stored already.
   * Resolves when their deltas are folded or in the write batch. Rejects only with StoppedError.
   */
  async take(shard: Shard, entries: readonly Entry[], redelivered = false): Promise<void> {
    const folds: Folding[] = []
    const heard = new Map<string, Heard>()
    const correlations = new Map<string, string>()
    const nowMs = Date.now()
    let deltaCount = 0
    for (const [id, fields] of entries) {
      const ticket: Ticket = { shard, id, producer: '', open: 1, dead: false }
      shard.inHand.set(id, ticket)
      // Deleted from the stream while pending: there is nothing left to store.
      if (fields !== null)
        deltaCount += this.#sort(ticket, fields, redelivered, nowMs, folds, heard, correlations)
      // The part that stood for the decoding.
      this.#acker.partDone(ticket)
    }
    this.#onEntries(entries.length, deltaCount)
    if (await this.#fold(shard, folds, heard)) {
      for (const item of folds) this.#acker.partDone(item.ticket)
      if (folds.some((item) => item.dueInMs === 0)) this.#onEnded(shard)
    } else {
      // Redis is full: straight to Postgres instead, as running; the entries' acks and the trimming make room again.
      for (const { ticket, startedAtMs, producer, delta, size } of folds) {
        this.#collector.add(
          ticket,
          startedAtMs,
          { producer: delta.k === undefined ? producer : '', delta },
          size,
          true,
        )
      }
    }
    await this.#correlation.set(correlations)
  }

  /** Folds, however long Redis is away; false if it is full. */
  async #fold(shard: Shard, folds: readonly Fold[], heard: ReadonlyMap<string, Heard>): Promise<boolean> {
    for (let attempt = 0; folds.length > 0 || heard.size > 0; attempt++) {
      try {
        await fold(this.#redis, shard, folds, heard)
        break
      } catch (error) {
        if (redisCode(error) === 'OOM') return false
        // Unacked, so they come again, to whoever reads next.
        if (this.#stop.aborted) throw new StoppedError('stopped while Redis was unavailable')
        await delay(backoffMs(attempt), this.#stop)
      }
    }
    return true
  }

  /** Sends the parts of one entry on their ways; returns the number of its deltas. */
  #sort(
    ticket: Ticket,
    fields: string[],
    redelivered: boolean,
    nowMs: number,
    folds: Folding[],
    heard: Map<string, Heard>,
    correlations: Map<string, string>,
  ): number {
    const { id } = ticket
    const decoded = decodeFrame(fields, nowMs)
    if (!decoded.ok) {
      this.#letter(ticket, '', decoded.reason, fields)
      return 0
    }
    const { frame, deltas, refused } = decoded
    const { producer, number: frameNumber } = frame
    ticket.producer = producer
    const ms = entryTimeMs(id)
    if (ms > (heard.get(producer)?.ms ?? 0)) heard.set(producer, { ms, told: encodeTold(ms, frame.counters) })
    for (const [i, { value, reason }] of refused.entries())
      this.#letter(ticket, `/${i}`, reason, value, producer)
    const size = Math.ceil(fields.reduce((sum, field) => sum + field.length, 0) / Math.max(1, deltas.length))
    const traces = new Set<string>()
    const sentMs = entryMs(id)
    for (const [i, delta] of deltas.entries()) {
      ticket.open += 1
      const startedAtMs = startOf(delta) as number
      const late = redelivered || sentMs - startedAtMs > LATE_DUE_MS
      const whole = delta.b === 1 && delta.e !== undefined
      if (delta.x !== undefined && delta.k !== undefined && !(whole && this.#correlation.keep === 'open')) {
        correlations.set(delta.x, delta.t)
      }
      if (whole) {
        this.#collector.add(ticket, startedAtMs, { producer: '', delta }, size, false)
        continue
      }
      const trace = openName(delta.t, startedAtMs)
      // A frame has one delta a trace; where a producer breaks that, none may hide another.
      const field = traces.has(trace) ? `${producer}:${frameNumber}.${i}` : `${producer}:${frameNumber}`
      traces.add(trace)
      folds.push({
        ticket,
        startedAtMs,
        size,
        trace,
        producer,
        field,
        delta,
        dueInMs: this.#dueInMs(delta, startedAtMs, nowMs, late),
      })
    }
    return deltas.length
  }

  #dueInMs(delta: Fold['delta'], startedAtMs: number, nowMs: number, late: boolean): number {
    if (delta.e !== undefined) return 0
    if (delta.b === undefined || late) return LATE_DUE_MS
    const untilLimit = delta.l === undefined ? Number.POSITIVE_INFINITY : startedAtMs + delta.l - nowMs
    return Math.max(1, Math.ceil(Math.min(this.#checkpointMs, untilLimit)))
  }

  #letter(ticket: Ticket, place: string, reason: string, value: unknown, producer?: string): void {
    ticket.open += 1
    const stream = ticket.shard.keys.events
    const letter = {
      letterId: `${stream}/${ticket.id}${place}`,
      stream,
      entryId: ticket.id,
      reason,
      payload: payloadOf(value),
    }
    this.#collector.addDead(ticket, producer === undefined ? letter : { ...letter, producer })
  }
}

/** What was refused, as JSON text: exactly, unless it nests so deep that it cannot be written. */
function payloadOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return encodeObject(value, PAYLOAD_MAX_LENGTH)
  }
}
