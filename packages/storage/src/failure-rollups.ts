import type { MinuteRange } from '@stepwell/protocol/statistics'
import { sql, type Transaction } from 'kysely'
import { timeOf } from './rollup-writer.ts'
import type { RollupOverviewsTable, Tables } from './tables.ts'

/** Which patterns failed, how often, and when last; as arrays that Postgres reads, side by side. */
export type FailureRollup = Pick<
  RollupOverviewsTable,
  'failure_patterns' | 'failure_counts' | 'failures_last'
>

/** Nothing failed. */
export const NO_FAILURES: FailureRollup = {
  failure_patterns: '{}',
  failure_counts: '{}',
  failures_last: '{}',
}

const DAY = 1_440
const arrays = sql`array_agg(pattern)::text as failure_patterns, array_agg(failures)::text as failure_counts, array_agg(last)::text as failures_last`

/** The failures of these days, by the minute that a day begins with; a day on which nothing failed has none. Read in an index of failures: 0.3 µs each. */
export async function failuresOfDays(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
): Promise<Map<number, FailureRollup>> {
  const counted = trx
    .selectFrom('execution_traces')
    .select(['failure_pattern as pattern', sql`max(started_at)`.as('last'), sql`count(*)`.as('failures')])
    .select(sql<number>`floor(extract(epoch from started_at) / 86400)::integer`.as('day'))
    .where('status', '=', 'failed')
    .where('failure_pattern', 'is not', null)
    .where('started_at', '>=', timeOf(from))
    .where('started_at', '<', timeOf(to))
    .groupBy(['failure_pattern', 'day'])
  const { rows } = await sql<FailureRollup & { day: number }>`
    select day, ${arrays} from (${counted}) as counted group by day`.execute(trx)
  return new Map(rows.map(({ day, ...failures }) => [Number(day) * DAY, failures]))
}

/** The failures of all these days together; null where those of one are not known. */
export async function failuresOfWeek(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
): Promise<FailureRollup | null> {
  const days = trx
    .selectFrom('execution_rollup_overviews')
    .selectAll()
    .where('width_s', '=', DAY * 60)
    .where('bucket', '>=', timeOf(from))
    .where('bucket', '<', timeOf(to))
  const { rows } = await sql<FailureRollup & { isUnknown: boolean }>`
    with days as materialized (${days})
    select exists (select from days where failure_patterns is null) as "isUnknown", ${arrays}
      from (select pattern, sum(failures) as failures, max(last) as last
              from days cross join unnest(failure_patterns, failure_counts, failures_last) as f (pattern, failures, last)
             group by pattern) as counted`.execute(trx)
  const { isUnknown, ...failures } = rows[0] as (typeof rows)[0]
  if (isUnknown) return null
  return failures.failure_patterns === null ? NO_FAILURES : failures
}
