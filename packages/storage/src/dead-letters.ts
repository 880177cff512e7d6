import { sql } from 'kysely'
import type { Database } from './database.ts'
import { listNotKept, type NotKept } from './dead-letter-bounds.ts'

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

/** A dead letter as it lies in the database. */
export interface StoredDeadLetter extends DeadLetter {
  firstSeenAt: Date
  lastSeenAt: Date
  /** How often it was delivered. */
  deliveries: number
}

/** Which letters; all that is given must hold. */
export interface DeadLetterFilters {
  letterIds?: readonly string[]
  reason?: string
  producer?: string
}

/**
 * Dead letters; at most `limit` (default: 100). Without `after` those that came last, newest first. With it those behind this id,
 * by id: '' begins with the first, so that all can be gone through while some are removed. Payloads are cut after
 * `payloadMaxLength` characters (default: never): a hundred whole ones can be 100 MiB.
 */
export async function listDeadLetters(
  { db }: Pick<Database, 'db'>,
  options: DeadLetterFilters & { limit?: number; after?: string; payloadMaxLength?: number } = {},
): Promise<StoredDeadLetter[]> {
  const { letterIds, reason, producer, after, payloadMaxLength } = options
  let query = db
    .selectFrom('execution_dead_letters')
    .select(['letter_id', 'stream', 'entry_id', 'reason', 'producer', 'trace_id', 'deliveries'])
    .select(['first_seen_at', 'last_seen_at'])
    .select(
      payloadMaxLength === undefined
        ? 'payload'
        : sql<string>`left(payload, ${payloadMaxLength})`.as('payload'),
    )
    .limit(options.limit ?? 100)
  if (letterIds !== undefined) query = query.where(sql<boolean>`letter_id = any(${letterIds})`)
  if (reason !== undefined) query = query.where('reason', '=', reason)
  if (producer !== undefined) query = query.where('producer', '=', producer)
  query =
    after === undefined
      ? query.orderBy('last_seen_at', 'desc').orderBy('letter_id', 'desc')
      : query.where('letter_id', '>', after).orderBy('letter_id')
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

/** The dead letters of one reason: those that are there, and those that were not kept. */
export interface DeadLetterReason extends NotKept {
  letters: number
}

/** Most reasons that are told. */
const REASONS_MAX = 1_000

/** Why letters are dead, from the first to the last time that each reason came up; the most frequent first. */
export async function listDeadLetterReasons(database: Pick<Database, 'db'>): Promise<DeadLetterReason[]> {
  const rows = await database.db
    .selectFrom('execution_dead_letters')
    .select('reason')
    .select(sql<string>`count(*)`.as('letters'))
    .select(({ fn }) => fn.min('first_seen_at').as('first_seen_at'))
    .select(({ fn }) => fn.max('last_seen_at').as('last_seen_at'))
    .groupBy('reason')
    .orderBy(sql`count(*)`, 'desc')
    .orderBy('reason')
    .limit(REASONS_MAX)
    .execute()
  const reasons = new Map<string, DeadLetterReason>()
  for (const notKept of await listNotKept(database)) reasons.set(notKept.reason, { ...notKept, letters: 0 })
  for (const { reason, letters, first_seen_at, last_seen_at } of rows) {
    const known = reasons.get(reason)
    reasons.set(reason, {
      reason,
      letters: Number(letters),
      noRoom: known?.noRoom ?? 0,
      tooOld: known?.tooOld ?? 0,
      firstSeenAt: new Date(Math.min(Number(first_seen_at), Number(known?.firstSeenAt ?? Infinity))),
      lastSeenAt: new Date(Math.max(Number(last_seen_at), Number(known?.lastSeenAt ?? 0))),
    })
  }
  const all = ({ letters, noRoom, tooOld }: DeadLetterReason): number => letters + noRoom + tooOld
  return [...reasons.values()].sort((a, b) => all(b) - all(a))
}

/** Removes letters; resolves after the commit. Those that are not there are passed over. */
export async function deleteDeadLetters(
  { db }: Pick<Database, 'db'>,
  letterIds: readonly string[],
): Promise<void> {
  for (let i = 0; i < letterIds.length; i += 1_000)
    await db
      .deleteFrom('execution_dead_letters')
      .where('letter_id', 'in', letterIds.slice(i, i + 1_000))
      .execute()
}
