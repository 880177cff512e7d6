import { type RawBuilder, sql, type Transaction } from 'kysely'
import { type FailureRow, type FailureWindow, fetchRows, within } from './newest-failures.ts'
import { sharedOf } from './similar-signatures.ts'
import type { Tables } from './tables.ts'

/** So many failures are looked at one by one, 2 µs each: those of a skill, or of a day. Of more, those that are alike are looked for. */
export const FEW_FAILURES = 10_000

/** What is looked for among few. */
export interface FewSearch {
  wordCount: number
  hashes: readonly number[]
  hasIntarray: boolean
  /** Signatures whose similarity is known to be another. */
  corrected: ReadonlyMap<string, number>
  threshold: number
  limit: number
}

/** Whether there are at most so many failures in the window, of the skill. Passes no more than that. */
export async function areFew(
  trx: Transaction<Tables>,
  traces: RawBuilder<unknown>,
  window: FailureWindow,
  few: number,
): Promise<boolean> {
  const { rows } = await sql<{ count: string }>`
    select count(*) as count from (select from ${traces} where status = 'failed' ${within(window)} limit ${few + 1}) passed`.execute(
    trx,
  )
  return Number(rows[0]?.count) <= few
}

/** The most similar, then newest, of all failures of the window, one by one. */
export function rankFew(
  trx: Transaction<Tables>,
  traces: RawBuilder<unknown>,
  signatures: RawBuilder<unknown>,
  { wordCount, hashes, hasIntarray, corrected, threshold, limit }: FewSearch,
  window: FailureWindow,
): Promise<FailureRow[]> {
  const count = sql.lit(wordCount)
  return fetchRows(
    trx,
    traces,
    sql`
      select trace_id, started_at, score
        from (select trace_id, started_at, coalesce(known, shared / nullif(${count} + word_count - shared, 0), 0) as score
                from (select trace_id, started_at, word_count, c.similarity as known,
                             least(${sharedOf(hashes, hasIntarray)} + ${sql.lit(wordCount - hashes.length)}, word_count, ${count})::float8 as shared
                        from (select trace_id, started_at, error_signature from ${traces} where status = 'failed' ${within(window)} offset 0) seen
                        join ${signatures} s on s.signature = seen.error_signature
                        left join unnest(${[...corrected.keys()]}::bigint[], ${[...corrected.values()]}::float8[]) as c (signature, similarity) on c.signature = s.signature
                      offset 0) counted) scored
       where score >= ${threshold}::float8
       order by score desc, started_at desc, trace_id desc
       limit ${limit}`,
    sql.ref('score'),
  )
}
