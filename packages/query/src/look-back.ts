import { type RawBuilder, sql, type Transaction } from 'kysely'
import { BY_SCORE, FAILURE_COLUMNS, type FailureRow, type FailureWindow, within } from './newest-failures.ts'
import { sharedOf } from './similar-signatures.ts'
import type { Tables } from './tables.ts'

/** What is looked for among the newest failures. */
export interface BackSearch {
  wordCount: number
  hashes: readonly number[]
  hasIntarray: boolean
  /** Signatures whose similarity is known to be another. */
  corrected: ReadonlyMap<string, number>
  threshold: number
  limit: number
}

/** What came of looking back. */
export interface LookedBack {
  /** The most similar, then newest, of those that were looked at. */
  rows: FailureRow[]
  /** They were all that there are in the window. */
  areAll: boolean
}

/** Looks at so many failures of the window, the newest ones, one by one: 3 µs each. */
export async function lookBack(
  trx: Transaction<Tables>,
  traces: RawBuilder<unknown>,
  signatures: RawBuilder<unknown>,
  { wordCount, hashes, hasIntarray, corrected, threshold, limit }: BackSearch,
  window: FailureWindow,
  most: number,
): Promise<LookedBack> {
  const count = sql.lit(wordCount)
  const { rows } = await sql<FailureRow & { seen: number }>`
    with seen as materialized (
           select trace_id, started_at, error_signature from ${traces} where status = 'failed' ${within(window)}
            order by started_at desc, trace_id desc limit ${most}),
         best as materialized (
           select unnest(trace_ids) as trace_id, unnest(times) as started_at, score
             from (select trace_ids, times, coalesce(known, shared / nullif(${count} + word_count - shared, 0), 0) as score
                     from (select trace_ids, times, word_count, c.similarity as known,
                                  least(${sharedOf(hashes, hasIntarray)} + ${sql.lit(wordCount - hashes.length)}, word_count, ${count})::float8 as shared
                             from (select error_signature, array_agg(trace_id) as trace_ids, array_agg(started_at) as times
                                     from seen group by error_signature) as messages
                             join ${signatures} s on s.signature = messages.error_signature
                             left join unnest(${[...corrected.keys()]}::bigint[], ${[...corrected.values()]}::float8[]) as c (signature, similarity) on c.signature = s.signature
                           offset 0) counted) scored
            where score >= ${threshold}::float8
            ${BY_SCORE}
            limit ${limit})
    select seen, ${FAILURE_COLUMNS}, score
      from (select count(*)::integer as seen from seen) as counted left join (best join ${traces} using (trace_id, started_at)) on true
     ${BY_SCORE}`.execute(trx)
  return { rows: rows.filter((row) => row.trace_id !== null), areAll: Number(rows[0]?.seen) < most }
}
