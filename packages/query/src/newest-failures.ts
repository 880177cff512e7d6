import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Likeness } from './similar-signatures.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** Which failures count. */
export interface FailureWindow {
  skill?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
}

/** A failed trace, as it is fetched. */
export interface FailureRow {
  trace_id: string
  skill_name: string
  started_ms: string
  execution_id: string | null
  error_message: string
  error_signature: string
  failure_pattern: string | null
  score: string
}

/**
 * Of so many signatures each is looked up; of more, failures are passed from the newest back until there are enough: the more
 * signatures, the sooner. A look-up takes 3 µs a month, of a skill too, for there is an index of that; an entry that is passed 0.2 µs.
 */
const LOOKED_UP_MAX = 200

/** Gives the newest traces of the most similar signatures, in order; at most `limit`. */
export type NewestOf = (likenesses: readonly Likeness[], limit: number) => Promise<FailureRow[]>

/** Finds them in a window. */
export function newestIn(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  window: FailureWindow,
): NewestOf {
  return async (likenesses, limit) => {
    const found: FailureRow[] = []
    let few: Likeness[] = []
    const takeFew = async (): Promise<void> => {
      if (few.length > 0 && found.length < limit)
        found.push(...(await lookUp(trx, table, few, window, limit - found.length)))
      few = []
    }
    for (const likeness of likenesses) {
      const isLarge = likeness.count > LOOKED_UP_MAX
      if (isLarge || few.reduce((sum, { count }) => sum + count, likeness.count) > LOOKED_UP_MAX)
        await takeFew()
      if (found.length >= limit) return found
      if (isLarge) found.push(...(await passBack(trx, table, likeness, window, limit - found.length)))
      else few.push(likeness)
    }
    await takeFew()
    return found
  }
}

/** The newest traces that have none of these signatures; they have nothing in common with what is looked for. */
export function newestWithout(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  signatures: string,
  window: FailureWindow,
  limit: number,
): Promise<FailureRow[]> {
  const others = sql`error_signature not in (select unnest(${signatures}::bigint[]))`
  return fetchRows(trx, table, newestFirst(table, others, window, limit), sql`0::float8`)
}

/**
 * The signatures of all failures of the window, as Postgres writes an array of them; undefined where there are more failures than that. Passes them in
 * an index: 0.3 µs each.
 */
export async function signaturesIn(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  window: FailureWindow,
  most: number,
): Promise<string | undefined> {
  const { rows } = await sql<{ count: string | null; signatures: string | null }>`
    select sum(count) as count, array_agg(error_signature)::text as signatures
      from (select error_signature, count(*) as count
              from (select error_signature from ${table} where status = 'failed' ${within(window)} limit ${most + 1}) as passed
             group by error_signature) as own`.execute(trx)
  return Number(rows[0]?.count) > most ? undefined : (rows[0]?.signatures ?? '{}')
}

function passBack(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  { similarity, signatures, seenUntil }: Likeness,
  window: FailureWindow,
  limit: number,
): Promise<FailureRow[]> {
  // `is true` keeps it from becoming a join, which has no order; an array in its place is compared with all statistics: 26 ms for 10,000.
  const any = sql`(error_signature in (select unnest(${signatures}::bigint[]))) is true
    ${seenUntil === undefined ? sql`` : sql`and started_at < ${seenUntil}::timestamptz`}`
  return fetchRows(trx, table, newestFirst(table, any, window, limit), sql`${similarity}::float8`)
}

const newestFirst = (
  table: RawBuilder<unknown>,
  which: RawBuilder<unknown>,
  window: FailureWindow,
  limit: number,
): RawBuilder<unknown> => sql`
  select trace_id, started_at from ${table}
   where status = 'failed' and ${which} ${within(window)}
   order by started_at desc, trace_id desc
   limit ${limit}`

function lookUp(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  likenesses: readonly Likeness[],
  window: FailureWindow,
  limit: number,
): Promise<FailureRow[]> {
  const { signatures, scores } = scored(likenesses)
  const best = sql`
    select trace_id, started_at, score
      from unnest(${signatures}::bigint[], ${scores}::float8[]) as alike (signature, score)
     cross join lateral (
       select trace_id, started_at from ${table}
        where error_signature = signature ${within(window)}
        order by started_at desc, trace_id desc
        limit ${limit}) newest
     ${BY_SCORE}
     limit ${limit}`
  return fetchRows(trx, table, best, sql.ref('score'))
}

/** Each signature with its score. */
function scored(likenesses: readonly Likeness[]): { signatures: string[]; scores: number[] } {
  const signatures = likenesses.map((one) => one.signatures.slice(1, -1).split(','))
  const scores = likenesses.flatMap(({ similarity }, i) => signatures[i]?.map(() => similarity) ?? [])
  return { signatures: signatures.flat(), scores }
}

/** The conditions of a window, each after an `and`. */
export function within({ skill, since, until }: FailureWindow): RawBuilder<unknown> {
  const conditions = [
    ...(skill === undefined ? [] : [sql`and skill_name = ${skill}`]),
    ...(since === undefined ? [] : [sql`and started_at >= ${since}`]),
    ...(until === undefined ? [] : [sql`and started_at <= ${until}`]),
  ]
  return conditions.length === 0 ? sql`` : sql.join(conditions, sql` `)
}

/** The columns of a failure, but for its score; and the order of failures by their score. */
export const FAILURE_COLUMNS = sql`trace_id, skill_name, ${millisecondsOf(sql.ref('started_at'))} as started_ms, execution_id, error_message,
    error_signature, failure_pattern`
export const BY_SCORE = sql`order by score desc, started_at desc, trace_id desc`

/** The rows of these keys, which come from indexes alone. */
async function fetchRows(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  best: RawBuilder<unknown>,
  score: RawBuilder<unknown>,
): Promise<FailureRow[]> {
  const { rows } = await sql<FailureRow>`
    with best as materialized (${best})
    select ${FAILURE_COLUMNS}, ${score} as score from best join ${table} using (trace_id, started_at) ${BY_SCORE}`.execute(
    trx,
  )
  return rows
}
