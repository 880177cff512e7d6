import { type Kysely, sql, type Transaction } from 'kysely'
import type * as z from 'zod'
import type { similarFailuresOptions } from './options.ts'
import { Ranking, type Winner } from './similarity.ts'
import { timeText } from './summary-columns.ts'
import type { Tables } from './tables.ts'

/** A failed trace, and how similar its error message is to what was asked for. */
export interface SimilarFailure {
  traceId: string
  /** |common words| / |all words| of both texts: 0 to 1. */
  similarityScore: number
  errorMessage: string
  skillName: string
  startedAt: Date
  executionId?: string
}

type Options = z.infer<typeof similarFailuresOptions>

// Messages are at most 16 KiB, so a batch is at most 32 MiB and commonly a few hundred KiB.
const BATCH_MESSAGES = 2_000

/**
 * All failures, exactly: reads each distinct message once, in batches, ranks them here, and fetches the newest traces of
 * those that win. Both within one snapshot.
 */
export function fetchSimilarFailures(db: Kysely<Tables>, options: Options): Promise<SimilarFailure[]> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const winners = await rank(trx, options)
      return winners.length === 0 ? [] : fetchTraces(trx, options, winners)
    })
}

async function rank(trx: Transaction<Tables>, options: Options): Promise<Winner[]> {
  const ranking = new Ranking(options.errorPattern, options.limit, options.threshold)
  const messages = failures(trx, options)
    .select((eb) => [
      'error_message as message',
      eb.fn.countAll<string>().as('count'),
      sql<string>`floor(extract(epoch from max(started_at)) * 1000)::bigint`.as('newest_ms'),
    ])
    .groupBy('error_message')
  // All rows will be read, so the plan that is best for the first few of them, a cursor's default, is the wrong one.
  await sql`set local cursor_tuple_fraction = 1`.execute(trx)
  await sql`declare stepwell_messages no scroll cursor for ${messages}`.execute(trx)
  for (;;) {
    const { rows } = await sql<{ message: string; count: string; newest_ms: string }>`
      fetch ${sql.lit(BATCH_MESSAGES)} from stepwell_messages`.execute(trx)
    for (const { message, count, newest_ms } of rows) {
      ranking.add({ message, count: Number(count), newestMs: Number(newest_ms) })
    }
    if (rows.length < BATCH_MESSAGES) break
  }
  await sql`close stepwell_messages`.execute(trx)
  return ranking.winners()
}

function failures(trx: Transaction<Tables>, { since, until, skill }: Options) {
  let query = trx
    .selectFrom('execution_traces')
    .where('status', '=', 'failed')
    .where('error_message', 'is not', null)
  if (since !== undefined) query = query.where('started_at', '>=', since)
  if (until !== undefined) query = query.where('started_at', '<', until)
  if (skill !== undefined) query = query.where('skill_name', '=', skill)
  return query
}

async function fetchTraces(
  trx: Transaction<Tables>,
  options: Options,
  winners: readonly Winner[],
): Promise<SimilarFailure[]> {
  const places = failures(trx, options)
    .innerJoin(winnersTable(winners), (join) => join.onRef('w.message', '=', 'error_message'))
    .select((eb) => [
      'trace_id',
      'execution_id',
      'skill_name',
      'w.position',
      'w.tier',
      'w.need',
      timeText('started_at').as('started_text'),
      eb.fn
        .agg<string>('row_number')
        .over((over) => over.partitionBy('w.tier').orderBy('started_at', 'desc').orderBy('trace_id'))
        .as('place'),
    ])
  const rows = await trx
    .selectFrom(places.as('p'))
    .selectAll()
    .whereRef('place', '<=', 'need')
    .orderBy('tier')
    .orderBy('place')
    .limit(options.limit)
    .execute()
  return rows.map((row) => {
    const winner = winners[row.position] as Winner
    const failure: SimilarFailure = {
      traceId: row.trace_id,
      similarityScore: winner.similarity,
      errorMessage: winner.message,
      skillName: row.skill_name,
      startedAt: new Date(row.started_text),
    }
    if (row.execution_id !== null) failure.executionId = row.execution_id
    return failure
  })
}

function winnersTable(winners: readonly Winner[]) {
  const messages = winners.map(({ message }) => message)
  const tiers = winners.map(({ tier }) => tier)
  const needs = winners.map(({ need }) => need)
  return sql<{ message: string; tier: number; need: number; position: number }>`
    (select message, tier, need, (row_number() over ())::int - 1 as position
       from unnest(${messages}::text[], ${tiers}::int[], ${needs}::int[]) as u(message, tier, need))`.as('w')
}
