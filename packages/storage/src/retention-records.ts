import { type Month, monthBounds } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type { Tables } from './tables.ts'

/** The first day of a month, as Postgres reads a date. */
export const monthDate = (month: Month): string =>
  new Date(monthBounds(month).fromMs).toISOString().slice(0, 10)

/** What retention knows of a month. */
export interface RetentionRecord {
  /** Traces removed so far. */
  removed: number
  /** What was past its time when it was looked at. */
  lookedFor: string
}

/** What retention knows of months, by their first day. */
export async function retentionRecords(
  db: Kysely<Tables>,
  months?: readonly Month[],
): Promise<Map<string, RetentionRecord>> {
  let query = db
    .selectFrom('execution_retention')
    .select(['removed', 'looked_for'])
    .select(sql<string>`month::text`.as('day'))
  if (months !== undefined) query = query.where(sql<boolean>`month = any(${months.map(monthDate)}::date[])`)
  const rows = await query.execute()
  return new Map(rows.map((row) => [row.day, { removed: Number(row.removed), lookedFor: row.looked_for }]))
}

/** Notes what was looked for in a month, and how many traces more are removed from it. */
export async function recordRetention(
  db: Kysely<Tables>,
  month: Month,
  { removed, lookedFor, nowMs }: { removed: number; lookedFor: string; nowMs: number },
): Promise<void> {
  await db
    .insertInto('execution_retention')
    .values({ month: monthDate(month), removed, looked_for: lookedFor, looked_at: new Date(nowMs) })
    .onConflict((conflict) =>
      conflict.column('month').doUpdateSet({
        removed: sql`execution_retention.removed + excluded.removed`,
        looked_for: sql`excluded.looked_for`,
        looked_at: sql`excluded.looked_at`,
      }),
    )
    .execute()
}
