import { type Kysely, sql } from 'kysely'
import type { Span } from './rollup-cover.ts'
import type { Tables } from './tables.ts'

/** That retention has removed runs of a month, so that statistics of it are of those that are left. */
export interface RemovedRuns {
  /** Its first day, in UTC. */
  month: Date
  /** About how many, of all skills. */
  removedCount: number
}

/** The months that a window touches and from which runs were removed, oldest first. */
export async function removedRuns(db: Kysely<Tables>, { fromMs, toMs }: Span): Promise<RemovedRuns[]> {
  const firstDayOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 7)}-01`
  const rows = await db
    .selectFrom('execution_retention')
    .select(['removed', sql<string>`to_char(month, 'YYYY-MM-DD')`.as('first_day')])
    .where('removed', '>', '0')
    .where(sql<boolean>`month between ${firstDayOf(fromMs)}::date and ${firstDayOf(toMs - 1)}::date`)
    .orderBy('month')
    .execute()
  return rows.map(({ removed, first_day }) => ({ month: new Date(first_day), removedCount: Number(removed) }))
}
