import { createHash } from 'node:crypto'
import {
  boundText,
  type Delta,
  NAME_MAX_LENGTH,
  type OpenRecord,
  producerOfField,
  StepwellError,
} from '@stepwell/protocol'
import {
  countDeadLetters,
  type Database,
  type DeadLetter,
  type DeadLetterBounds,
  DeadLetterWriter,
  listNotKept,
  type NotKept,
} from '@stepwell/storage'
import type { OpenTrace } from './finalizer.ts'
import type { Shard, Ticket } from './shard.ts'
import type { Store } from './store.ts'

/** How many dead letters there are, and how many were not kept, whoever wrote them. */
export interface LetterCounts {
  letters: number
  notKept: NotKept[]
}

/** Where dead letters go. Has room → full → has room again; each change is told once, and what is not kept is counted in Postgres. */
export class LetterBox {
  readonly #store: Store
  readonly #database: Database
  readonly #writer: DeadLetterWriter
  readonly #onKept: (letters: number) => void
  readonly #onChange: (change: 'full' | 'room') => void
  #isFull = false
  #counting: Promise<LetterCounts> | undefined

  constructor(options: {
    store: Store
    database: Database
    bounds: DeadLetterBounds
    onKept: (letters: number) => void
    onChange: (change: 'full' | 'room') => void
  }) {
    this.#store = options.store
    this.#database = options.database
    this.#writer = new DeadLetterWriter(options.database, options.bounds)
    this.#onKept = options.onKept
    this.#onChange = options.onChange
  }

  /** Resolves when each letter is kept, or counted as not kept, for good. Rejects as `Store.persist` does. */
  async put(letters: readonly DeadLetter[]): Promise<void> {
    let kept = 0
    await this.#store.persist(async () => {
      kept = await this.#writer.write(letters, Date.now())
    })
    this.#onKept(kept)
    const isFull = kept < letters.length
    if (isFull !== this.#isFull) this.#onChange(isFull ? 'full' : 'room')
    this.#isFull = isFull
  }

  /** Asked at each scrape: one question at a time, so that a Postgres that does not answer costs one connection at most. */
  counts(): Promise<LetterCounts> {
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined
    })
    return this.#counting
  }

  async #count(): Promise<LetterCounts> {
    const { letters } = await countDeadLetters(this.#database)
    return { letters, notKept: await listNotKept(this.#database) }
  }
}

/** The letter for a delta that the database refuses. */
export function letterOf(
  ticket: Pick<Ticket, 'shard' | 'id'>,
  delta: Delta,
  producer: string,
  error: Error,
): DeadLetter {
  return {
    letterId: `${ticket.shard.keys.events}/${ticket.id}/${delta.t}`,
    stream: ticket.shard.keys.events,
    entryId: ticket.id,
    // Ours says all there is to say.
    reason: error instanceof StepwellError ? error.message : `Postgres refuses it: ${error.message}`,
    payload: JSON.stringify(delta),
    producer,
    traceId: delta.t,
  }
}

/** The letters for what others wrote into the open state. */
export function lettersOfForeign({ keys }: Shard, records: readonly OpenRecord[]): DeadLetter[] {
  return records.map(({ field, text }) => ({
    letterId: `${keys.events}/${createHash('sha1').update(`${field} ${text}`).digest('hex')}`,
    stream: keys.events,
    entryId: boundText(field, NAME_MAX_LENGTH),
    reason: 'in the open state of a trace, and no delta of it: somebody else writes to the keys of Stepwell',
    payload: JSON.stringify(text),
  }))
}

/** The letters for all deltas of an open trace that the database refuses. */
export function lettersOf({ shard, said, fields }: OpenTrace, error: Error): DeadLetter[] {
  // Timeouts that the worker itself added have no field.
  return fields.map((field, i) => {
    const { delta } = said[i] as (typeof said)[number]
    return letterOf({ shard, id: field }, delta, producerOfField(field), error)
  })
}
