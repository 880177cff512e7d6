import type { Json } from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { type Direction, decodeCursor, encodeCursor } from './cursor.ts'
import type { TracePage } from './found-traces.ts'
import { summaryOf, type Tables } from './tables.ts'
import type { Filters } from './trace-conditions.ts'
import type { FoundRow, Search } from './trace-list.ts'
import { searchTraces } from './trace-search.ts'

/** One page of the traces that match all filters, newest first, by keyset on (started_at, trace_id). */
export async function findPage(
  db: Kysely<Tables>,
  tables: Pick<Search, 'table' | 'signatures'>,
  { cursor, limit, ...filters }: Filters,
): Promise<TracePage> {
  const list = JSON.parse(JSON.stringify(filters)) as Json
  const from = cursor === undefined ? undefined : decodeCursor(cursor, list)
  const direction = from?.direction ?? 'older'
  // One more than asked for tells whether the list goes on.
  const rows = await searchTraces(db, { ...tables, filters, from, direction, count: limit + 1 })
  const shown = rows.slice(0, limit)
  if (direction === 'newer') shown.reverse()
  const page: TracePage = { traces: shown.map(summaryOf) }
  const at = (row: FoundRow | undefined, way: Direction): string | undefined =>
    row && encodeCursor({ startedUs: row.started_us, traceId: row.trace_id, direction: way }, list)
  const goesOn = rows.length > limit
  // What lies behind, where a page came from, is there: its own first or last trace.
  const next = goesOn || direction === 'newer' ? at(shown.at(-1), 'older') : undefined
  const previous = from !== undefined && (goesOn || direction === 'older') ? at(shown[0], 'newer') : undefined
  if (next !== undefined) page.nextCursor = next
  if (previous !== undefined) page.previousCursor = previous
  return page
}
