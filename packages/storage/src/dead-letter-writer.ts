import { boundText } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import {
  countDeadLetters,
  countNotKept,
  DEAD_LETTER_BOUNDS,
  type DeadLetterBounds,
} from './dead-letter-bounds.ts'
import type { DeadLetter } from './dead-letters.ts'
import type { Tables } from './tables.ts'

/** Most UTF-16 units that a letter's payload keeps. */
export const PAYLOAD_MAX_LENGTH = 1_048_576
const REASON_MAX_LENGTH = 500

/** What there was room for when the table was last looked at, less what was written since. */
interface Room {
  letters: number
  bytes: number
  seenMs: number
}

/** To count 100,000 letters takes Postgres 30 ms: too much for each of a trickle of them. */
const LOOK_EVERY_MS = 1_000

/**
 * Puts letters down. Where the bounds are reached new letters are not kept: they are counted by their reason. The new rather than
 * the old, for three reasons: letters that wait for a replay cannot be pushed out by a flood of rubbish, its first letters tell
 * what it is as well as its last ones would, and what is not written costs nothing. Decided here and not by a job that
 * removes what is too much: before that runs a flood has filled the disk. Each writer looks at the table once a second, so several
 * together may go over the bounds by what they write in a second.
 */
export class DeadLetterWriter {
  readonly #db: Kysely<Tables>
  readonly #bounds: DeadLetterBounds
  #room: Room | undefined

  constructor({ db }: Pick<Database, 'db'>, bounds: DeadLetterBounds = DEAD_LETTER_BOUNDS) {
    this.#db = db
    this.#bounds = bounds
  }

  /**
   * Resolves after the commit, with how many of the letters are kept; the others are counted in the same transaction. A letter
   * that is there counts one delivery more, however full it is.
   */
  async write(letters: readonly DeadLetter[], nowMs: number): Promise<number> {
    if (letters.length === 0) return 0
    const unique = [...new Map(letters.map((letter) => [letter.letterId, bounded(letter)])).values()]
    unique.sort((a, b) => (a.letterId < b.letterId ? -1 : 1))
    const { kept, over } = await this.#sort(unique)
    try {
      if (over.length === 0) await insert(this.#db, kept, nowMs)
      else {
        await this.#db.transaction().execute(async (trx) => {
          await insert(trx, kept, nowMs)
          await countNotKept(trx, over, 'no_room', nowMs)
        })
      }
    } catch (error) {
      this.#room = undefined
      throw error
    }
    return kept.length
  }

  /** Those that there is room for, or that are there already; and the others. */
  async #sort(letters: readonly DeadLetter[]): Promise<{ kept: DeadLetter[]; over: DeadLetter[] }> {
    if (this.#room === undefined || performance.now() - this.#room.seenMs > LOOK_EVERY_MS) {
      const used = await countDeadLetters({ db: this.#db })
      const { maxLetters, maxBytes } = this.#bounds
      this.#room = {
        letters: maxLetters - used.letters,
        bytes: maxBytes - used.bytes,
        seenMs: performance.now(),
      }
    }
    const kept: DeadLetter[] = []
    const rest: DeadLetter[] = []
    for (const letter of letters) (takeRoom(this.#room, letter) ? kept : rest).push(letter)
    if (rest.length === 0) return { kept, over: rest }
    const there = await idsThere(this.#db, rest)
    for (const letter of rest) if (there.has(letter.letterId)) kept.push(letter)
    kept.sort((a, b) => (a.letterId < b.letterId ? -1 : 1))
    return { kept, over: rest.filter(({ letterId }) => !there.has(letterId)) }
  }
}

function takeRoom(room: Room, { payload }: DeadLetter): boolean {
  const bytes = Buffer.byteLength(payload)
  if (room.letters < 1 || room.bytes < bytes) return false
  room.letters -= 1
  room.bytes -= bytes
  return true
}

function bounded(letter: DeadLetter): DeadLetter {
  return {
    ...letter,
    reason: boundText(letter.reason, REASON_MAX_LENGTH),
    payload: boundPayload(letter.payload),
  }
}

/** A payload as a letter keeps it: what is over the limit is cut. */
export function boundPayload(payload: string): string {
  if (payload.length <= PAYLOAD_MAX_LENGTH) return payload
  // By way of bytes: a slice of a string keeps all of it in memory.
  return Buffer.from(payload.slice(0, PAYLOAD_MAX_LENGTH)).toString()
}

async function idsThere(db: Kysely<Tables>, letters: readonly DeadLetter[]): Promise<Set<string>> {
  const rows = await db
    .selectFrom('execution_dead_letters')
    .select('letter_id')
    .where(sql<boolean>`letter_id = any(${letters.map(({ letterId }) => letterId)})`)
    .execute()
  return new Set(rows.map((row) => row.letter_id))
}

/** Most letters of one statement: ten parameters each, and Postgres takes 65,535; and most of their payloads: it takes 1 GiB. */
const INSERT_AT_ONCE = 1_000
const INSERT_MAX_LENGTH = 8 * PAYLOAD_MAX_LENGTH

function* statements(letters: readonly DeadLetter[]): Generator<DeadLetter[]> {
  let some: DeadLetter[] = []
  let length = 0
  for (const letter of letters) {
    if (some.length === INSERT_AT_ONCE || length > INSERT_MAX_LENGTH) {
      yield some
      some = []
      length = 0
    }
    some.push(letter)
    length += letter.payload.length
  }
  if (some.length > 0) yield some
}

async function insert(db: Kysely<Tables>, letters: readonly DeadLetter[], nowMs: number): Promise<void> {
  const now = new Date(nowMs)
  for (const some of statements(letters)) {
    await db
      .insertInto('execution_dead_letters')
      .values(
        some.map((letter) => ({
          letter_id: letter.letterId,
          stream: letter.stream,
          entry_id: letter.entryId,
          first_seen_at: now,
          last_seen_at: now,
          producer: letter.producer ?? null,
          trace_id: letter.traceId ?? null,
          reason: letter.reason,
          payload: letter.payload,
        })),
      )
      .onConflict((conflict) =>
        conflict.column('letter_id').doUpdateSet({
          last_seen_at: sql`excluded.last_seen_at`,
          deliveries: sql`execution_dead_letters.deliveries + 1`,
          reason: sql`excluded.reason`,
        }),
      )
      .execute()
  }
}
