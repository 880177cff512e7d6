import type { Trace } from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { type Filters, keysetPage } from './find-traces.ts'
import { type SelectedSummary, type Tables, traceOf } from './tables.ts'

/** A stored trace as it was recorded. */
export interface WholeTrace extends Trace {
  /** The error message is not its own: it is that of its failed step that ended last. */
  errorIsDerived: boolean
}

/** Steps that a page of whole traces should have, so that memory stays bounded whatever the traces are like. */
const STEPS_A_PAGE = 20_000
const PAGE_MAX = 500
const PAGE_FIRST = 20

/** All traces that match, newest first, with their steps; memory holds a page, whose size follows from the last one's steps. */
export async function* wholeTraces(
  db: Kysely<Tables>,
  filters: Omit<Filters, 'cursor' | 'limit'>,
): AsyncGenerator<WholeTrace, void> {
  let size = PAGE_FIRST
  let after: { startedUs: string; traceId: string } | undefined
  for (;;) {
    const rows = await keysetPage(db, filters, after).select(['steps', 'merge_state']).limit(size).execute()
    for (const row of rows) yield wholeOf(row)
    const last = rows.at(-1)
    if (last === undefined || rows.length < size) return
    after = { startedUs: last.started_us, traceId: last.trace_id }
    const steps = rows.reduce((sum, row) => sum + Number(row.step_count), 1)
    size = Math.max(1, Math.min(PAGE_MAX, 4 * size, Math.floor((STEPS_A_PAGE * rows.length) / steps)))
  }
}

function wholeOf(row: SelectedSummary & { steps: unknown; merge_state: unknown }): WholeTrace {
  const state = typeof row.merge_state === 'string' ? JSON.parse(row.merge_state) : row.merge_state
  return { ...traceOf(row), errorIsDerived: state?.derived_error === true }
}
