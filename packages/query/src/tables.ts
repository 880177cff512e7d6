import type { JsonObject, StepTuple, TraceStatus } from '@stepwell/protocol'

/** The columns of `execution_traces` that are read. Times are read as text: see `timeText`. */
export interface ExecutionTracesTable {
  trace_id: string
  started_at: Date
  skill_name: string
  execution_id: string | null
  status: TraceStatus
  completed_at: Date | null
  total_duration_ms: number | null
  steps: StepTuple[]
  step_count: number
  missing_steps: number
  error_message: string | null
  metadata: JsonObject
  parent_trace_id: string | null
  parent_step_id: string | null
  root_trace_id: string | null
}

/** The tables that this package knows. */
export interface Tables {
  execution_traces: ExecutionTracesTable
}
