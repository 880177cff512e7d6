import { type SummaryRow, summaryOfRow, type TraceSummary } from '@stepwell/protocol'
import { type RawBuilder, sql } from 'kysely'

/**
 * A time as ISO text in UTC, to the microsecond. Cursors need the microseconds, which a Date loses, and a pool that was
 * lent may parse timestamps its own way. NEVER name it like its column: ORDER BY would then mean the text.
 */
export const timeText = (column: 'started_at' | 'completed_at'): RawBuilder<string> =>
  sql<string>`to_char(${sql.ref(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const PLAIN_COLUMNS = [
  'trace_id',
  'skill_name',
  'execution_id',
  'status',
  'total_duration_ms',
  'step_count',
  'missing_steps',
  'error_message',
  'metadata',
  'parent_trace_id',
  'parent_step_id',
  'root_trace_id',
] as const

/** What lists select: everything but the steps. */
export const SUMMARY_COLUMNS = [
  ...PLAIN_COLUMNS,
  timeText('started_at').as('started_text'),
  timeText('completed_at').$castTo<string | null>().as('completed_text'),
] as const

/** What selecting SUMMARY_COLUMNS gives. */
export type SelectedSummary = Pick<SummaryRow, (typeof PLAIN_COLUMNS)[number]> & {
  started_text: string
  completed_text: string | null
}

/** The row with its times, as the protocol reads it. */
export function withTimes<T extends SelectedSummary>(selected: T): T & SummaryRow {
  const { started_text, completed_text } = selected
  return {
    ...selected,
    started_at: new Date(started_text),
    completed_at: completed_text === null ? null : new Date(completed_text),
  }
}

/** A selected row as people and tools see it. */
export const summaryOf = (selected: SelectedSummary): TraceSummary => summaryOfRow(withTimes(selected))
