import { type Delta, RunPart, recordOfDelta } from '@stepwell/protocol'
import { startOf } from '@stepwell/protocol/schema'
import { DUE, type Fold, type FoldFromEntry } from './fold.ts'
import type { Gathered } from './gathering.ts'
import type { Ticket } from './shard.ts'

// What is to be folded, with the entries that it is of: they are acked when it is.

/**
 * A trace that may have ended already is looked at after this long: one without a known beginning, and one whose beginning
 * comes late, so that other workers may have stored its end.
 */
export const LATE_DUE_MS = 1_000

/** Milliseconds until a trace is due: one that may have ended already, and one of which a checkpoint is next. */
export interface DueIn {
  soon: number
  checkpoint: number
}

/** Deltas that are sent to Redis. */
export interface Folding extends Fold {
  texts: string[]
  fields: string[]
  /** Of each delta the entry that brought it. */
  tickets: Ticket[]
  startedAtMs: number
  /** Of what they bring, in bytes or UTF-16 units. */
  size: number
  /** The entry that they were to be cut out of, if they were. */
  from?: FoldingEntry
}

/** Deltas of an entry that Redis cuts out of it. */
export interface FoldingEntry extends FoldFromEntry {
  ticket: Ticket
  /** All of the entry, those that are not folded too. */
  deltas: readonly (Delta | RunPart)[]
  folded: number
  /** Of a delta. */
  size: number
}

/** The deltas of an entry that were to be cut out of it. */
export function foldingsOfEntry(entry: FoldingEntry, dueIn: DueIn): Folding[] {
  return entry.deltas.flatMap((_, i) =>
    entry.dues[i] === DUE.isNotFolded ? [] : [foldingOf(entry, i, dueIn)],
  )
}

/** The one at this place. */
export function foldingOf(entry: FoldingEntry, place: number, dueIn: DueIn): Folding {
  const { ticket, producer, field, size, dues } = entry
  const delta = entry.deltas[place] as Delta | RunPart
  const dueInMs = dues[place] === DUE.now ? 0 : dues[place] === DUE.soon ? dueIn.soon : dueIn.checkpoint
  return {
    trace: delta.t,
    producer,
    texts: [recordOf(delta)],
    fields: [field],
    tickets: [ticket],
    startedAtMs: startOfRead(delta),
    size,
    dueInMs,
    from: entry,
  }
}

/** What has gathered of a run: one for each producer, as a rule one. */
export function foldingsOfRun(run: Gathered, dueInMs: number): Folding[] {
  const { trace, startedAtMs, texts, tickets } = run
  const byProducer = new Map<string, Folding>()
  for (const [i, text] of texts.entries()) {
    const ticket = tickets[i] as Ticket
    const { producer, field } = ticket
    let folding = byProducer.get(producer)
    if (folding === undefined) {
      folding = { trace, producer, texts: [], fields: [], tickets: [], startedAtMs, size: 0, dueInMs }
      byProducer.set(producer, folding)
    }
    folding.texts.push(`{${text}`)
    // A frame has one delta a trace; where a producer breaks that, none may hide another.
    folding.fields.push(tickets[i - 1] === ticket ? `${field}.${i}` : field)
    folding.tickets.push(ticket)
    folding.size += text.length
  }
  return [...byProducer.values()]
}

/** The text of its record. */
export const recordOf = (delta: Delta | RunPart): string =>
  delta instanceof RunPart ? `{${delta.textBehindId}` : recordOfDelta(delta)

/** When its trace started, in milliseconds since 1970. */
export const startOfRead = (delta: Delta | RunPart): number =>
  delta instanceof RunPart ? delta.startedAtMs : (startOf(delta) as number)
