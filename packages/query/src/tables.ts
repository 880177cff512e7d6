import type { SummaryRow } from '@stepwell/protocol'

/** `execution_traces`, as far as it is read. */
export interface ExecutionTracesTable extends SummaryRow {
  steps: unknown
}

/** The tables that the query package knows. */
export interface Tables {
  execution_traces: ExecutionTracesTable
}

/** The columns of a summary: everything but the steps, which lists never load. */
export const SUMMARY_COLUMNS = [
  'trace_id',
  'started_at',
  'skill_name',
  'execution_id',
  'status',
  'completed_at',
  'total_duration_ms',
  'step_count',
  'missing_steps',
  'error_message',
  'metadata',
  'parent_trace_id',
  'parent_step_id',
  'root_trace_id',
] as const
