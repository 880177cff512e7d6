import { monthBounds } from '@stepwell/protocol'
import { sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { listPartitions } from './partitions.ts'

/** Writers take what they entered in the last day for known; this is far beyond. */
const LEAST_AGE_MS = 7 * 86_400_000
const BATCH = 10_000

/**
 * Forgets signatures, and groups without a note, of which no trace can be left: they were last seen before the oldest month there is. Where no
 * month is ever dropped it forgets nothing. In batches, each committed by itself; idempotent. Gives how many rows went. Throws what `pg` throws.
 */
export async function expireFailures(database: Database, nowMs: number): Promise<number> {
  const [oldest] = await listPartitions(database)
  if (oldest === undefined) return 0
  const before = new Date(Math.min(monthBounds(oldest).fromMs, nowMs - LEAST_AGE_MS)).toISOString()
  const [signatures, patterns, notes] = ['failure_signatures', 'failure_patterns', 'failure_notes'].map(
    (name) => sql.table(qualified(database.schema, name)),
  )
  const some = sql`
    delete from ${signatures} where signature = any(array(
      select signature from ${signatures} where seen_until < ${before}::timestamptz order by signature limit ${BATCH}))`
  let gone = 0
  for (let last = BATCH; last === BATCH; gone += last)
    last = Number((await some.execute(database.db)).numAffectedRows ?? 0)
  const { numAffectedRows } = await sql`
    delete from ${patterns} where group_id = any(array(
      select group_id from ${patterns} p left join ${notes} n using (pattern_id)
       group by group_id having max(seen_until) < ${before}::timestamptz and count(n.note) = 0
       order by group_id))`.execute(database.db)
  return gone + Number(numAffectedRows ?? 0)
}
