import type { Trace } from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { type Filters, keysetPage } from './find-traces.ts'
import { type SelectedSummary, type Tables, traceOf } from './tables.ts'

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
  filters: Omit<Filters, 'cursor' | 'limit'>,
): AsyncGenerator<WholeTrace, void> {
  let after: { startedUs: string; traceId: string } | undefined
  for (;;) {
    const next = keysetPage(db, filters, after)
    const counts = await next.clearSelect().select('step_count').limit(PAGE_MAX).execute()
    if (counts.length === 0) return
    const rows = await next.select(['steps', 'merge_state']).limit(countThatFits(counts)).execute()
    for (const row of rows) yield wholeOf(row)
    const last = rows.at(-1)
    if (last === undefined) return
    after = { startedUs: last.started_us, traceId: last.trace_id }
  }
}

function countThatFits(counts: readonly { step_count: number }[]): number {
  let steps = 0
  const tooMany = counts.findIndex((row) => {
    steps += Number(row.step_count)
    return steps > STEPS_A_PAGE
  })
  return tooMany < 0 ? counts.length : Math.max(1, tooMany)
}

function wholeOf(row: SelectedSummary & { steps: unknown; merge_state: unknown }): WholeTrace {
  const state = typeof row.merge_state === 'string' ? JSON.parse(row.merge_state) : row.merge_state
  return { ...traceOf(row), errorIsDerived: state?.derived_error === true }
}
