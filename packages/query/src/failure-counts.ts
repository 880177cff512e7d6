import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type Cover, coverOf, type RollupExtent } from './rollup-cover.ts'
import { partOf, partsTable } from './rollup-parts.ts'
import type { Tables } from './tables.ts'

/** Spans of traces that are read beside rollups; where there are more, all is read from the traces. */
const SPANS_MAX = 32
const WEEK = 10_080

/**
 * How often each pattern failed in a window, both ends included, and when last, as a table (pattern_id, count, last_seen): from the rollups of weeks and days
 * where they are what the traces are, else from an index of the failures. It MUST be read in the snapshot that `extent` is of.
 */
export async function failureCounts(
  trx: Kysely<Tables>,
  extent: RollupExtent,
  traces: RawBuilder<unknown>,
  { since, until }: { since: Date; until: Date },
): Promise<RawBuilder<unknown>> {
  const window = { fromMs: since.getTime(), toMs: until.getTime() + 1 }
  // Only days and weeks know failures.
  const days = { ...extent, hoursUntil: 0, minutesFrom: Number.MAX_SAFE_INTEGER }
  const first = coverOf(window, days, WEEK)
  const unknown = await unknownOf(trx, first.rollups)
  const cover =
    unknown.length === 0 ? first : coverOf(window, { ...days, marked: [...days.marked, ...unknown] }, WEEK)
  if (cover.rollups.length === 0 || cover.traces.length > SPANS_MAX)
    return countedIn(traces, sql`started_at >= ${since} and started_at <= ${until}`)
  const spans = cover.traces.map(({ fromMs, toMs }) =>
    countedIn(
      traces,
      sql`started_at >= ${new Date(fromMs)} and started_at < ${new Date(toMs)} and started_at <= ${until}`,
    ),
  )
  // Side by side in the list, for a join with `unnest` is remembered by the bytes of its arrays (Memoize): a third of the answer.
  const rolled = sql`
    select unnest(r.failure_patterns) as pattern_id, unnest(r.failure_counts) as count, unnest(r.failures_last) as last_seen
      from ${partsTable(cover.rollups)}
     cross join lateral (${overviews(trx)} offset 0) as r`
  return sql`
    select pattern_id, sum(count)::bigint as count, max(last_seen) as last_seen
      from (${sql.join([rolled, ...spans], sql` union all `)}) as parts
     group by pattern_id`
}

/** The rollups of a part, by themselves: else the planner may join the other way round, and read all that there is. */
const overviews = (trx: Kysely<Tables>): RawBuilder<unknown> =>
  sql`${trx.selectFrom('execution_rollup_overviews as r').selectAll().where(partOf('r'))}`

/** How often each pattern failed, as a table of the same form. */
export const countedIn = (
  traces: RawBuilder<unknown>,
  where: RawBuilder<unknown>,
): RawBuilder<unknown> => sql`
  select failure_pattern as pattern_id, count(*) as count, max(started_at) as last_seen
    from ${traces} where status = 'failed' and failure_pattern is not null and ${where} group by failure_pattern`

/** The ranges of minutes of rollups in which failures were not counted. */
async function unknownOf(
  trx: Kysely<Tables>,
  parts: Cover['rollups'],
): Promise<[from: number, to: number][]> {
  if (parts.length === 0) return []
  const { rows } = await sql<{ minute: number; width_s: number }>`
    select floor(extract(epoch from r.bucket) / 60)::integer as minute, r.width_s
      from ${partsTable(parts)} cross join lateral (${overviews(trx)} offset 0) as r where r.failure_patterns is null`.execute(
    trx,
  )
  return rows.map(({ minute, width_s }) => [Number(minute), Number(minute) + Number(width_s) / 60])
}
