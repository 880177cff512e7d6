import { sql } from 'kysely'
import type { Database } from './database.ts'

/** What could not be stored. */
export interface DeadLetter {
  /** The same for the same thing, however often it is delivered: stream, entry, and the place in it. */
  letterId: string
  stream: string
  entryId: string
  /** Why, in a sentence. */
  reason: string
  /** What came, as JSON text. */
  payload: string
  producer?: string
  traceId?: string
}

/** Most UTF-16 units that a letter's payload keeps. */
export const PAYLOAD_MAX_LENGTH = 1_048_576

/** Puts letters down; resolves after the commit. A letter that is there counts one delivery more. */
export async function writeDeadLetters(
  { db }: Database,
  letters: readonly DeadLetter[],
  nowMs: number,
): Promise<void> {
  if (letters.length === 0) return
  const unique = [...new Map(letters.map((letter) => [letter.letterId, letter])).values()]
  unique.sort((a, b) => (a.letterId < b.letterId ? -1 : 1))
  const now = new Date(nowMs)
  for (let i = 0; i < unique.length; i += 1000) {
    await db
      .insertInto('execution_dead_letters')
      .values(
        unique.slice(i, i + 1000).map((letter) => ({
          letter_id: letter.letterId,
          stream: letter.stream,
          entry_id: letter.entryId,
          first_seen_at: now,
          last_seen_at: now,
          producer: letter.producer ?? null,
          trace_id: letter.traceId ?? null,
          reason: letter.reason,
          payload: letter.payload.slice(0, PAYLOAD_MAX_LENGTH),
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

/** A dead letter as it lies in the database. */
export interface StoredDeadLetter extends DeadLetter {
  firstSeenAt: Date
  lastSeenAt: Date
  /** How often it was delivered. */
  deliveries: number
}

/** Dead letters, newest first; at most `limit` (default: 100). `producer`: only of this one; `before`: only older than this. */
export async function listDeadLetters(
  { db }: Database,
  options: {
    limit?: number
    producer?: string
    before?: Pick<StoredDeadLetter, 'firstSeenAt' | 'letterId'>
  } = {},
): Promise<StoredDeadLetter[]> {
  let query = db
    .selectFrom('execution_dead_letters')
    .selectAll()
    .orderBy('first_seen_at', 'desc')
    .orderBy('letter_id', 'desc')
    .limit(options.limit ?? 100)
  const { producer, before } = options
  if (producer !== undefined) query = query.where('producer', '=', producer)
  if (before !== undefined) {
    query = query.where(({ eb, refTuple, tuple }) =>
      eb(refTuple('first_seen_at', 'letter_id'), '<', tuple(before.firstSeenAt, before.letterId)),
    )
  }
  return (await query.execute()).map((row) => ({
    letterId: row.letter_id,
    stream: row.stream,
    entryId: row.entry_id,
    reason: row.reason,
    payload: row.payload,
    ...(row.producer === null ? {} : { producer: row.producer }),
    ...(row.trace_id === null ? {} : { traceId: row.trace_id }),
    firstSeenAt: row.first_seen_at,
    lastSeenAt: row.last_seen_at,
    deliveries: row.deliveries,
  }))
}

/** Removes letters; resolves after the commit. Those that are not there are passed over. */
export async function deleteDeadLetters({ db }: Database, letterIds: readonly string[]): Promise<void> {
  for (let i = 0; i < letterIds.length; i += 1_000)
    await db
      .deleteFrom('execution_dead_letters')
      .where('letter_id', 'in', letterIds.slice(i, i + 1_000))
      .execute()
}
