import { wordsOf } from '@stepwell/protocol/failures'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { BestMessages, jaccard, type ScoredMessage } from './similarity.ts'
import { millisecondsOf, type Tables } from './tables.ts'

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

// A message has at most 16 KiB, so a batch at most 80 MiB; commonly it is half a MiB.
const BATCH = 5_000

interface MessageRow {
  message: string
  newest_us: string
}

interface FailureRow {
  trace_id: string
  skill_name: string
  started_ms: string
  execution_id: string | null
  error_message: string
  score: string
}

/**
 * Exact, over all failures: the distinct messages come by a cursor, in batches, and are scored here; then the newest traces of the
 * best messages are fetched, from the same snapshot. Costs two passes over the failures of the window; memory holds a batch, the
 * best messages and the answer.
 */
export function findSimilar(
  db: Kysely<Tables>,
  table: RawBuilder<unknown>,
  request: SimilarRequest,
): Promise<SimilarFailure[]> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const best = await rankMessages(trx, table, request)
      return best.length === 0 ? [] : fetchTraces(trx, table, request, best)
    })
}

function failuresOf({ skill, since, until }: SimilarRequest): RawBuilder<unknown> {
  const conditions = [
    sql`status = 'failed' and error_message is not null`,
    ...(skill === undefined ? [] : [sql`skill_name = ${skill}`]),
    ...(since === undefined ? [] : [sql`started_at >= ${since}`]),
    ...(until === undefined ? [] : [sql`started_at <= ${until}`]),
  ]
  return sql.join(conditions, sql` and `)
}

async function rankMessages(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  request: SimilarRequest,
): Promise<ScoredMessage[]> {
  const wanted = wordsOf(request.pattern)
  const best = new BestMessages(request.limit)
  await sql`declare messages no scroll cursor for
    select error_message as message, (extract(epoch from max(started_at)) * 1000000)::bigint::text as newest_us
      from ${table} where ${failuresOf(request)} group by error_message`.execute(trx)
  for (;;) {
    const { rows } = await sql<MessageRow>`fetch ${sql.lit(BATCH)} from messages`.execute(trx)
    for (const { message, newest_us } of rows) {
      const similarity = jaccard(wanted, wordsOf(message))
      if (similarity >= request.threshold) best.add({ message, similarity, newestUs: Number(newest_us) })
    }
    if (rows.length < BATCH) return best.list()
  }
}

async function fetchTraces(
  trx: Transaction<Tables>,
  table: RawBuilder<unknown>,
  request: SimilarRequest,
  best: readonly ScoredMessage[],
): Promise<SimilarFailure[]> {
  const messages = best.map(({ message }) => message)
  const scores = best.map(({ similarity }) => similarity)
  const { rows } = await sql<FailureRow>`
    select trace_id, skill_name, ${millisecondsOf(sql.ref('started_at'))} as started_ms, execution_id, error_message, score
      from ${table} join unnest(${messages}::text[], ${scores}::float8[]) as best (message, score) on error_message = message
     where ${failuresOf(request)}
     order by score desc, started_at desc, trace_id desc
     limit ${request.limit}`.execute(trx)
  return rows.map((row) => ({
    traceId: row.trace_id,
    similarityScore: Number(row.score),
    errorMessage: row.error_message,
    skillName: row.skill_name,
    startedAt: new Date(Number(row.started_ms)),
    ...(row.execution_id === null ? {} : { executionId: row.execution_id }),
  }))
}
