import type { Json } from '@stepwell/protocol'
import { type Kysely, type SelectQueryBuilder, sql } from 'kysely'
import { decodeCursor, encodeCursor, fingerprint, type Position } from './cursor.ts'
import type { ValidFilters } from './options.ts'
import { SUMMARY_COLUMNS, summaryOf } from './summary-columns.ts'
import type { Tables } from './tables.ts'
import type { TracePage } from './trace-list.ts'

/** Anything that selects from the traces. */
type Selection<O> = SelectQueryBuilder<Tables, 'execution_traces', O>

/** One page of the traces that pass the filters, newest first, of equals the greater id first. */
export async function fetchPage(
  db: Kysely<Tables>,
  filters: ValidFilters,
  cursor: string | undefined,
): Promise<TracePage> {
  const print = fingerprintOf(filters)
  let query = filtered(db.selectFrom('execution_traces'), filters)
  if (cursor !== undefined) query = after(query, decodeCursor(cursor, print))
  const rows = await query
    .select(SUMMARY_COLUMNS)
    .orderBy('started_at', 'desc')
    .orderBy('trace_id', 'desc')
    // One more tells whether there is another page.
    .limit(filters.limit + 1)
    .execute()
  const page: TracePage = { traces: rows.slice(0, filters.limit).map(summaryOf) }
  const last = rows[filters.limit - 1]
  if (rows.length > filters.limit && last !== undefined) {
    page.nextCursor = encodeCursor({ startedText: last.started_text, traceId: last.trace_id }, print)
  }
  return page
}

// Pages may differ in size, so `limit` is none of it.
function fingerprintOf({ cursor: _, limit: __, ...filters }: ValidFilters): string {
  return fingerprint(JSON.parse(JSON.stringify(filters)) as Json)
}

function after<O>(query: Selection<O>, { startedText, traceId }: Position): Selection<O> {
  return query.where(sql<boolean>`(started_at, trace_id) < (${startedText}::timestamptz, ${traceId}::uuid)`)
}

function filtered<O>(query: Selection<O>, filters: ValidFilters): Selection<O> {
  const { skill, status, since, until, executionId, parentTraceId, rootTraceId } = filters
  let q = query
  if (skill !== undefined) q = q.where('skill_name', '=', skill)
  // The index of failures serves `=` alone.
  if (status !== undefined) {
    q = status.length === 1 ? q.where('status', '=', status[0] as never) : q.where('status', 'in', status)
  }
  if (since !== undefined) q = q.where('started_at', '>=', since)
  if (until !== undefined) q = q.where('started_at', '<', until)
  if (executionId !== undefined) q = q.where('execution_id', '=', executionId)
  if (parentTraceId !== undefined) q = q.where('parent_trace_id', '=', parentTraceId)
  if (rootTraceId !== undefined) q = q.where('root_trace_id', '=', rootTraceId)
  return filteredByContent(q, filters)
}

function filteredByContent<O>(query: Selection<O>, filters: ValidFilters): Selection<O> {
  const { minDurationMs, maxDurationMs, metadata, stepName } = filters
  let q = query
  if (minDurationMs !== undefined) q = q.where('total_duration_ms', '>=', minDurationMs)
  if (maxDurationMs !== undefined) q = q.where('total_duration_ms', '<=', maxDurationMs)
  if (metadata !== undefined) q = q.where(sql<boolean>`metadata @> ${metadata}::jsonb`)
  if (stepName !== undefined) {
    q = q.where(
      sql<boolean>`exists (select from json_array_elements(steps) as s(step) where s.step ->> 1 = ${stepName}::text)`,
    )
  }
  return q
}
