import type { Trace } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import { type SelectedSummary, type Tables, traceOf } from './tables.ts'
import type { Filters } from './trace-conditions.ts'
import { FOUND_COLUMNS, type FoundRow, type Search, timeOf } from './trace-list.ts'
import { searchTraces } from './trace-search.ts'

/** A stored trace as it was recorded. */
export interface WholeTrace extends Trace {
  /** The error message is not its own: it is that of its failed step that ended last. */
  errorIsDerived: boolean
}

/** Steps that a page has, so that memory stays bounded whatever the traces are like; or one trace, which may have 200,000. */
const STEPS_A_PAGE = 20_000
const PAGE_MAX = 500

/** All traces that match, newest first, with their steps; memory holds a page. How many steps the next traces have is asked first. */
export async function* wholeTraces(
  db: Kysely<Tables>,
  tables: Pick<Search, 'table' | 'signatures'>,
  filters: Omit<Filters, 'cursor' | 'limit'>,
): AsyncGenerator<WholeTrace, void> {
  let from: { startedUs: string; traceId: string } | undefined
  for (;;) {
    const next = await searchTraces(db, { ...tables, filters, from, direction: 'older', count: PAGE_MAX })
    const page = next.slice(0, countThatFits(next))
    yield* await withSteps(db, tables.table, page)
    const last = page.at(-1)
    if (last === undefined) return
    from = { startedUs: last.started_us, traceId: last.trace_id }
  }
}

/** Those that are still there, in the order of the page. */
async function withSteps(
  db: Kysely<Tables>,
  table: string,
  page: readonly FoundRow[],
): Promise<WholeTrace[]> {
  const [newest, oldest] = [page.at(0), page.at(-1)]
  if (newest === undefined || oldest === undefined) return []
  const { rows } = await sql<FoundRow & { steps: unknown; merge_state: unknown }>`
    select ${sql.join([...FOUND_COLUMNS, sql.ref('steps'), sql.ref('merge_state')])} from ${sql.table(table)}
     where trace_id = any(${page.map((row) => row.trace_id)}::uuid[])
       and started_at >= ${timeOf(oldest.started_us)} and started_at <= ${timeOf(newest.started_us)}`.execute(
    db,
  )
  const found = new Map(rows.map((row) => [keyOf(row), row]))
  return page.flatMap((row) => {
    const whole = found.get(keyOf(row))
    return whole === undefined ? [] : [wholeOf(whole)]
  })
}

// An id of another kind can stand at two starts.
const keyOf = (row: FoundRow): string => `${row.trace_id}@${row.started_us}`

function wholeOf(row: SelectedSummary & { steps: unknown; merge_state: unknown }): WholeTrace {
  const state = typeof row.merge_state === 'string' ? JSON.parse(row.merge_state) : row.merge_state
  return { ...traceOf(row), errorIsDerived: state?.derived_error === true }
}

function countThatFits(rows: readonly { step_count: number }[]): number {
  let steps = 0
  const tooMany = rows.findIndex((row) => {
    steps += Number(row.step_count)
    return steps > STEPS_A_PAGE
  })
  return tooMany < 0 ? rows.length : Math.max(1, tooMany)
}
