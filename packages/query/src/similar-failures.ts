import { type Kysely, type RawBuilder, sql } from 'kysely'
import { BestMessages, jaccard, wordsOf } from './similarity.ts'
import type { Tables } from './tables.ts'

/** A failed trace whose message is like the one asked for. */
export interface SimilarFailure {
  traceId: string
  /** Jaccard similarity of the two sets of words, 0 to 1. */
  similarityScore: number
  errorMessage: string
  skillName: string
  startedAt: Date
  executionId?: string
}

/** What is looked for. */
export interface SimilarRequest {
  pattern: string
  limit: number
  threshold: number
  skill?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
}

const BATCH = 5_000

interface FailureRow {
  trace_id: string
  skill_name: string
  started_at: Date
  execution_id: string | null
  error_message: string
}

/**
 * Exact, over all failures: the distinct messages come by a cursor, in batches, and are scored here; then the newest traces of the
 * best messages are fetched. Costs a pass over the failures of the window; memory holds a batch and the best messages.
 */
export async function findSimilar(
  db: Kysely<Tables>,
  table: RawBuilder<unknown>,
  request: SimilarRequest,
): Promise<SimilarFailure[]> {
  const { pattern, limit, threshold, skill, since, until } = request
  const conditions = [
    sql`status = 'failed' and error_message is not null`,
    ...(skill === undefined ? [] : [sql`skill_name = ${skill}`]),
    ...(since === undefined ? [] : [sql`started_at >= ${since}`]),
    ...(until === undefined ? [] : [sql`started_at <= ${until}`]),
  ]
  const where = sql.join(conditions, sql` and `)
  const wanted = wordsOf(pattern)
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const best = new BestMessages(limit)
      await sql`declare messages no scroll cursor for
      select error_message as message, (extract(epoch from max(started_at)) * 1000000)::bigint::text as newest_us
        from ${table} where ${where} group by error_message`.execute(trx)
      for (;;) {
        const { rows } = await sql<{
          message: string
          newest_us: string
        }>`fetch ${sql.lit(BATCH)} from messages`.execute(trx)
        for (const { message, newest_us } of rows) {
          const similarity = jaccard(wanted, wordsOf(message))
          if (similarity >= threshold) best.add({ message, similarity, newestUs: Number(newest_us) })
        }
        if (rows.length < BATCH) break
      }
      const messages = best.list()
      if (messages.length === 0) return []
      const similarity = new Map(messages.map((each) => [each.message, each.similarity]))
      const { rows } = await sql<FailureRow>`
      select trace_id, skill_name, started_at, execution_id, error_message
        from (select *, row_number() over (partition by error_message order by started_at desc, trace_id desc) as place
                from ${table} where ${where} and error_message = any(${messages.map((each) => each.message)})) newest
       where place <= ${limit}
       order by started_at desc, trace_id desc`.execute(trx)
      const score = (row: FailureRow): number => similarity.get(row.error_message) ?? 0
      // Sorting is stable: within one score the order of the query stays.
      return rows
        .sort((a, b) => score(b) - score(a))
        .slice(0, limit)
        .map((row) => ({
          traceId: row.trace_id,
          similarityScore: score(row),
          errorMessage: row.error_message,
          skillName: row.skill_name,
          startedAt: row.started_at,
          ...(row.execution_id === null ? {} : { executionId: row.execution_id }),
        }))
    })
}
