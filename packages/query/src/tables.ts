import {
  type JsonObject,
  type StepTuple,
  type SummaryRow,
  summaryOfRow,
  type Trace,
  type TraceSummary,
  traceOfRow,
} from '@stepwell/protocol'
import { type RawBuilder, sql } from 'kysely'

/** `execution_traces`, as far as it is read. */
export interface ExecutionTracesTable extends SummaryRow {
  steps: unknown
  merge_state: unknown
}

/** `execution_rollups`: what the traces of a skill came to that started in a minute, an hour or a day. */
export interface RollupsTable {
  skill_name: string
  width_s: number
  bucket: Date
  running: string
  success: string
  failed: string
  timeout: string
  duration_sum_ms: number
  duration_max_ms: number
  durations: Uint8Array
  steps: Uint8Array
  step_keys: string | null
  /** Of an hour, where much ran in it: its quarters. */
  parts: string | null
}

/** `execution_rollup_overviews`: what all skills came to in a minute, an hour or a day. */
export interface RollupOverviewsTable {
  width_s: number
  bucket: Date
  /** What they came to as text, and the sum of them of hours and days; null in rows of versions before, which have `skills` instead. */
  runs: string | null
  total: string | null
  skills: Uint8Array | null
  failure_patterns: string | null
  has_step_keys: boolean | null
}

/** The tables that the query package knows. */
export interface Tables {
  execution_traces: ExecutionTracesTable
  execution_rollups: RollupsTable
  execution_rollup_overviews: RollupOverviewsTable
  execution_rollup_marks: { due_at: Date; minutes: string }
  execution_retention: { month: Date; removed: string }
  execution_rollup_state: { rolled_from: Date; minutes_from: Date; hours_until: Date; days_until: Date }
}

/** Milliseconds since 1970 of a time in SQL, as a number in text or as a number: whatever the pool makes of it, `Number` reads it. */
export const millisecondsOf = (time: RawBuilder<unknown>): RawBuilder<string> =>
  sql<string>`floor(extract(epoch from ${time}) * 1000)::bigint`

/**
 * The columns of a summary: everything but the steps, which lists never load. Times come as milliseconds, for a lent pool may
 * parse timestamps its own way (`pg.types.setTypeParser`); by other names than their columns, for ORDER BY looks at those first.
 */
export const SUMMARY_COLUMNS = [
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
  millisecondsOf(sql.ref('started_at')).as('started_ms'),
  millisecondsOf(sql.ref('completed_at')).$castTo<string | null>().as('completed_ms'),
] as const

/** What SUMMARY_COLUMNS select. */
export type SelectedSummary = Omit<SummaryRow, 'started_at' | 'completed_at'> & {
  started_ms: string
  completed_ms: string | null
}

/** A selected row as people and tools see it, without steps. */
export const summaryOf = (row: SelectedSummary): TraceSummary => summaryOfRow(typed(row))

/** A selected row as people and tools see it, whole. */
export const traceOf = (row: SelectedSummary & { steps: unknown }): Trace =>
  traceOfRow({ ...typed(row), steps: parsed(row.steps) as StepTuple[] })

function typed(row: SelectedSummary): SummaryRow {
  return {
    ...row,
    started_at: new Date(Number(row.started_ms)),
    completed_at: row.completed_ms === null ? null : new Date(Number(row.completed_ms)),
    total_duration_ms: row.total_duration_ms === null ? null : Number(row.total_duration_ms),
    step_count: Number(row.step_count),
    missing_steps: Number(row.missing_steps),
    metadata: parsed(row.metadata) as JsonObject,
  }
}

const parsed = (json: unknown): unknown => (typeof json === 'string' ? JSON.parse(json) : json)
