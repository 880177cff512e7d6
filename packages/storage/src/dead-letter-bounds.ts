import { sql, type Transaction } from 'kysely'
import type { Database } from './database.ts'
import type { Tables } from './tables.ts'

/** How much the dead letters may take. */
export interface DeadLetterBounds {
  maxLetters: number
  /** Of their payloads, before Postgres compresses them. */
  maxBytes: number
}

/** 100,000 letters, a GiB of payloads. */
export const DEAD_LETTER_BOUNDS: DeadLetterBounds = { maxLetters: 100_000, maxBytes: 2 ** 30 }

/** How many dead letters there are. */
export async function countDeadLetters({
  db,
}: Pick<Database, 'db'>): Promise<{ letters: number; bytes: number }> {
  // The length of a text is told without reading it: 100,000 letters take 20 ms.
  const { letters, bytes } = await db
    .selectFrom('execution_dead_letters')
    .select(sql<string>`count(*)`.as('letters'))
    .select(sql<string>`coalesce(sum(octet_length(payload)), 0)`.as('bytes'))
    .executeTakeFirstOrThrow()
  return { letters: Number(letters), bytes: Number(bytes) }
}

/** Letters that were not kept, for one reason. */
export interface NotKept {
  reason: string
  /** There was no room for them. */
  noRoom: number
  /** Removed by age. */
  tooOld: number
  firstSeenAt: Date
  lastSeenAt: Date
}

/** Most reasons that are counted apart. What they say can follow from what was sent: a table of all of them could be filled. */
const REASONS_MAX = 100
/** Stands for all reasons beyond those. */
const OTHER_REASONS = 'other reasons'

/** The letters that were not kept, by reason, the most first. */
export async function listNotKept({ db }: Pick<Database, 'db'>): Promise<NotKept[]> {
  const rows = await db
    .selectFrom('execution_dead_letters_not_kept')
    .selectAll()
    .orderBy(sql`no_room + too_old`, 'desc')
    .orderBy('reason')
    .limit(2 * REASONS_MAX)
    .execute()
  return rows.map((row) => ({
    reason: row.reason,
    noRoom: Number(row.no_room),
    tooOld: Number(row.too_old),
    firstSeenAt: row.first_seen_at,
    lastSeenAt: row.last_seen_at,
  }))
}

/** How many letters were not kept, for whatever reason. */
export async function totalNotKept(database: Pick<Database, 'db'>): Promise<number> {
  return (await listNotKept(database)).reduce((sum, { noRoom, tooOld }) => sum + noRoom + tooOld, 0)
}

/** Counts letters that are not kept. Two writers that meet new reasons at once may count a few more than a hundred apart. */
export async function countNotKept(
  trx: Transaction<Tables>,
  letters: readonly { reason: string }[],
  why: 'no_room' | 'too_old',
  nowMs: number,
): Promise<void> {
  if (letters.length === 0) return
  const known = new Set((await listNotKept({ db: trx })).map(({ reason }) => reason))
  const counts = new Map<string, number>()
  for (const { reason } of letters) {
    const name = known.has(reason) || known.size < REASONS_MAX ? reason : OTHER_REASONS
    known.add(name)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const now = new Date(nowMs)
  await trx
    .insertInto('execution_dead_letters_not_kept')
    .values(
      // Sorted, as all that is upserted: two writers in different orders deadlock.
      [...counts]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([reason, count]) => ({
          reason,
          no_room: why === 'no_room' ? count : 0,
          too_old: why === 'too_old' ? count : 0,
          first_seen_at: now,
          last_seen_at: now,
        })),
    )
    .onConflict((conflict) =>
      conflict.column('reason').doUpdateSet({
        no_room: sql`execution_dead_letters_not_kept.no_room + excluded.no_room`,
        too_old: sql`execution_dead_letters_not_kept.too_old + excluded.too_old`,
        last_seen_at: sql`excluded.last_seen_at`,
      }),
    )
    .execute()
}

const EXPIRE_AT_ONCE = 1_000

/**
 * Removes letters that came last before `beforeMs`, and counts them; gives how many. In many short transactions: safe to break
 * off, and from any number of processes at once.
 */
export async function expireDeadLetters(
  { db }: Pick<Database, 'db'>,
  { beforeMs, nowMs }: { beforeMs: number; nowMs: number },
): Promise<number> {
  for (let expired = 0; ; ) {
    const some = await db.transaction().execute(async (trx) => {
      const old = trx
        .selectFrom('execution_dead_letters')
        .select('letter_id')
        .where('last_seen_at', '<', new Date(beforeMs))
        .orderBy('last_seen_at')
        .limit(EXPIRE_AT_ONCE)
      const removed = await trx
        .deleteFrom('execution_dead_letters')
        .where('letter_id', 'in', old)
        .returning('reason')
        .execute()
      await countNotKept(trx, removed, 'too_old', nowMs)
      return removed.length
    })
    expired += some
    if (some === 0) return expired
  }
}

/** Forgets what was counted; for when somebody has seen to it. */
export async function forgetNotKept({ db }: Pick<Database, 'db'>, reason?: string): Promise<void> {
  let query = db.deleteFrom('execution_dead_letters_not_kept')
  if (reason !== undefined) query = query.where('reason', '=', reason)
  await query.execute()
}
