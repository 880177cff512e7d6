import type { TraceStatus } from '@stepwell/protocol'
import type { ColumnType, Generated } from 'kysely'

/** `execution_traces`, as it is written and read: JSON columns are written as text. */
export interface ExecutionTracesTable {
  trace_id: string
  started_at: Date
  completed_at: Date | null
  total_duration_ms: number | null
  ingested_at: Generated<Date>
  step_count: number
  missing_steps: number
  version: number
  sample_weight: Generated<number>
  parent_trace_id: string | null
  root_trace_id: string | null
  skill_name: string
  status: TraceStatus
  execution_id: string | null
  parent_step_id: string | null
  error_message: string | null
  steps: unknown
  metadata: unknown
  merge_state: unknown
}

/** `execution_dead_letters`: what could not be stored, and why. */
export interface DeadLettersTable {
  letter_id: string
  stream: string
  entry_id: string
  first_seen_at: Date
  last_seen_at: Date
  deliveries: Generated<number>
  producer: string | null
  trace_id: string | null
  reason: string
  payload: string
}

/** `execution_dead_letters_not_kept`: how many more there would be, by reason. Counts come as text. */
export interface DeadLettersNotKeptTable {
  reason: string
  no_room: ColumnType<string, number>
  too_old: ColumnType<string, number>
  first_seen_at: Date
  last_seen_at: Date
}

/** The tables that the storage package knows. */
export interface Tables {
  execution_traces: ExecutionTracesTable
  execution_dead_letters: DeadLettersTable
  execution_dead_letters_not_kept: DeadLettersNotKeptTable
}
