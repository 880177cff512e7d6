import {
  type Delta,
  encodeObject,
  encodeTold,
  isCuttable,
  openName,
  parseTraceId,
  RunPart,
  type Said,
} from '@stepwell/protocol'
import { type FrameField, readFrame } from '@stepwell/protocol/schema'
import { boundPayload, type DeadLetter, PAYLOAD_MAX_LENGTH } from '@stepwell/storage'
import type { Collector } from './collector.ts'
import type { Correlated, Correlation } from './correlation.ts'
import { DUE, type Heard, joining } from './fold.ts'
import {
  type DueIn,
  type Folding,
  type FoldingEntry,
  foldingsOfRun,
  LATE_DUE_MS,
  recordOf,
  startOfRead,
} from './foldings.ts'
import { saidOfRun, wholeRunOf } from './gathering.ts'
import { entryMs, entryTimeMs, type Ticket } from './shard.ts'

/** What came of some entries. */
export interface Sorted {
  entries: FoldingEntry[]
  folds: Folding[]
  heard: Map<string, Heard>
  correlated: Correlated
  /** Of runs that gathered and are over, by execution id. */
  over: Map<string, string>
  deltas: number
  /** Unpacked, in bytes. */
  size: number
}

export const emptySorted = (correlated: Correlated): Sorted => ({
  entries: [],
  folds: [],
  heard: new Map(),
  correlated,
  over: new Map(),
  deltas: 0,
  size: 0,
})

/**
 * Decodes and validates entries, and says of each of their parts where it goes: whole runs and dead letters into the write batch at once; what
 * is to be folded, to be heard of and to be found by its execution id it only notes, for who passes it on.
 */
export class Sorter {
  readonly #collector: Collector
  readonly #correlation: Correlation
  readonly #dueIn: DueIn
  /** Milliseconds until a run that gathered in vain is due. */
  readonly #openDueInMs: number

  constructor(options: {
    collector: Collector
    correlation: Correlation
    dueIn: DueIn
    openDueInMs: number
  }) {
    this.#collector = options.collector
    this.#correlation = options.correlation
    this.#dueIn = options.dueIn
    this.#openDueInMs = options.openDueInMs
  }

  /** Sends the parts of one entry on their ways. */
  sort(ticket: Ticket, fields: FrameField[], redelivered: boolean, nowMs: number, sorted: Sorted): void {
    const { folds, heard, correlated } = sorted
    const { id } = ticket
    const decoded = readFrame(fields, nowMs)
    if (!decoded.ok) {
      const payload = payloadOf(fields.map((field) => String(field).slice(0, PAYLOAD_MAX_LENGTH)))
      this.letter(ticket, '', decoded.reason, payload)
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
      this.letter(ticket, `/${i}`, reason, payloadOf(value), { producer, ...traceOf(value) })
    const size = Math.ceil(decoded.size / Math.max(1, deltas.length))
    const sentMs = entryMs(id)
    const field = `${producer}:${frameNumber}`
    ticket.field = field
    const toFold: { delta: Delta | RunPart; startedAtMs: number; late: boolean }[] = []
    const tickets = [ticket]
    // Of each delta a letter, up to the last that is folded.
    let dues = ''
    let isUsual = refused.length === 0
    for (let i = 0; i < deltas.length; i++) {
      const delta = deltas[i] as Delta | RunPart
      ticket.open += 1
      if (delta instanceof RunPart && delta.isWhole) {
        if (delta.executionIdTo > 0 && this.#correlation.keep !== 'open') correlated.addRun(delta)
        this.#collector.addRun(delta, tickets, size, saidOfWhole)
        continue
      }
      const startedAtMs = startOfRead(delta)
      const whole = delta.b !== undefined && delta.e !== undefined
      if (delta.x !== undefined && isOfOwner(delta) && !(whole && this.#correlation.keep === 'open')) {
        correlated.add(delta.x, delta.t)
      }
      if (whole) {
        const said = [{ producer: '', delta: delta as Delta }]
        this.#collector.add({ traceId: delta.t, startedAtMs, said, tickets, size, known: false })
        continue
      }
      const isOurs = delta instanceof RunPart || (delta.at === undefined && delta.l === undefined)
      const late = redelivered || sentMs - startedAtMs > LATE_DUE_MS
      // What follows a beginning that comes late may be stored already, and wait for it.
      const mayGather = isOurs && !redelivered && !(late && delta.b !== undefined)
      if (mayGather && this.#gathers(ticket, delta, startedAtMs, nowMs, sorted)) continue
      toFold.push({ delta, startedAtMs, late })
      const due = delta.e !== undefined ? DUE.now : delta.b === undefined || late ? DUE.soon : DUE.checkpoint
      dues =
        dues.padEnd(i, DUE.isNotFolded) + (delta.b !== undefined || !isOfOwner(delta) ? joining(due) : due)
      isUsual &&= isOurs
    }
    if (toFold.length === 0) return
    const traces = new Set(toFold.map(({ delta }) => delta.t))
    if (
      isUsual &&
      traces.size === toFold.length &&
      decoded.text !== undefined &&
      isCuttable(decoded.text.toString('latin1'), deltas)
    ) {
      const folded = toFold.length
      dues = dues.padEnd(deltas.length, DUE.isNotFolded)
      sorted.entries.push({ id, ticket, producer, field, dues, deltas, folded, size })
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
    if (delta.e === undefined) sorted.folds.push(...foldingsOfRun(run, this.#openDueInMs))
    else {
      const { trace: traceId, tickets, size } = run
      const plain = wholeRunOf(run, delta)
      let executionId = plain?.x
      if (plain !== undefined) this.#collector.addRun(plain, tickets, size, () => saidOfRun(run))
      else {
        const said = saidOfRun(run)
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

  /** Makes a dead letter of what cannot be read, or is refused. `place`: which part of the entry. */
  letter(
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

const isOfOwner = (delta: Delta | RunPart): boolean => delta instanceof RunPart || delta.k !== undefined

const saidOfWhole = (run: RunPart): Said[] => [{ producer: '', delta: run.delta() }]

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
