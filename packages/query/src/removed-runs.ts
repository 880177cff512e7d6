import { type ExpressionBuilder, type RawBuilder, sql } from 'kysely'
import type { Span } from './rollup-cover.ts'
import type { Tables } from './tables.ts'

/** That retention has removed runs of a month, so that statistics of it are of those that are left. */
export interface RemovedRuns {
  /** Its first day, in UTC. */
  month: Date
  /** About how many, of all skills. */
  removedCount: number
}

/** SQL: the months that a window touches and from which runs were removed, oldest first, as a text for `parseRemoved`; null: none. */
export function removedIn(
  eb: ExpressionBuilder<Tables, 'execution_rollup_state'>,
  { fromMs, toMs }: Span,
): RawBuilder<string | null> {
  const firstDayOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 7)}-01`
  const months = eb
    .selectFrom('execution_retention')
    .select(
      sql<string>`string_agg(to_char(month, 'YYYY-MM-DD') || ' ' || removed, ',' order by month)`.as('all'),
    )
    .where('removed', '>', '0')
    .where(sql<boolean>`month between ${firstDayOf(fromMs)}::date and ${firstDayOf(toMs - 1)}::date`)
  return sql`${months}`
}

export function parseRemoved(text: string | null): RemovedRuns[] {
  if (text === null) return []
  return text.split(',').map((one) => {
    const [day, count] = one.split(' ') as [string, string]
    return { month: new Date(day), removedCount: Number(count) }
  })
}
