import type { Json } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type * as z from 'zod'
import { decodeCursor, encodeCursor } from './cursor.ts'
import type { TracePage } from './found-traces.ts'
import type { findSchema } from './input.ts'
import { SUMMARY_COLUMNS, summaryOf, type Tables } from './tables.ts'

/** Filters, validated. */
export type Filters = z.output<typeof findSchema>

/** One page of the traces that match all filters, by keyset on (started_at, trace_id). */
export async function findPage(
  db: Kysely<Tables>,
  { cursor, limit, ...filters }: Filters,
): Promise<TracePage> {
  const list = JSON.parse(JSON.stringify(filters)) as Json
  const after = cursor === undefined ? undefined : decodeCursor(cursor, list)
  const rows = await keysetPage(db, filters, after)
    // One more than asked for tells whether there is a next page.
    .limit(limit + 1)
    .execute()
  const page: TracePage = { traces: rows.slice(0, limit).map(summaryOf) }
  const last = rows[limit - 1]
  if (rows.length > limit && last !== undefined) {
    page.nextCursor = encodeCursor({ startedUs: last.started_us, traceId: last.trace_id }, list)
  }
  return page
}

/** The traces that match, newest first, after a place among them; without a limit. */
export function keysetPage(
  db: Kysely<Tables>,
  filters: Omit<Filters, 'cursor' | 'limit'>,
  after: { startedUs: string; traceId: string } | undefined,
) {
  const query = pageQuery(db, filters)
  if (after === undefined) return query
  const startedAt = sql`(timestamptz 'epoch' + ${after.startedUs}::bigint * interval '1 microsecond')`
  return query.where(sql<boolean>`(started_at, trace_id) < (${startedAt}, ${after.traceId}::uuid)`)
}

function pageQuery(db: Kysely<Tables>, filters: Omit<Filters, 'cursor' | 'limit'>) {
  let query = db
    .selectFrom('execution_traces')
    .select(SUMMARY_COLUMNS)
    .select(sql<string>`(extract(epoch from started_at) * 1000000)::bigint::text`.as('started_us'))
    .orderBy('started_at', 'desc')
    .orderBy('trace_id', 'desc')
  const { skill, status, since, until, minDurationMs, maxDurationMs, metadata, stepName } = filters
  if (skill !== undefined) query = query.where('skill_name', '=', skill)
  if (status !== undefined) query = query.where('status', 'in', status)
  if (since !== undefined) query = query.where('started_at', '>=', since)
  if (until !== undefined) query = query.where('started_at', '<=', until)
  if (minDurationMs !== undefined) query = query.where('total_duration_ms', '>=', minDurationMs)
  if (maxDurationMs !== undefined) query = query.where('total_duration_ms', '<=', maxDurationMs)
  if (metadata !== undefined) query = query.where(sql<boolean>`metadata @> ${metadata}::jsonb`)
  if (filters.executionId !== undefined) query = query.where('execution_id', '=', filters.executionId)
  if (filters.parentTraceId !== undefined) query = query.where('parent_trace_id', '=', filters.parentTraceId)
  if (filters.rootTraceId !== undefined) query = query.where('root_trace_id', '=', filters.rootTraceId)
  // A step is an array; its second element is the name (docs/PROTOCOL.md).
  if (stepName !== undefined) {
    query = query.where(
      sql<boolean>`exists (select from json_array_elements(steps) as step where step ->> 1 = ${stepName})`,
    )
  }
  return query
}
