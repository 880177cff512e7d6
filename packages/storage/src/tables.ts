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
  /** Derived, see `metadataBits`; null where nobody has written them. 64 bits, as text. */
  metadata_bits: string | null
  /** Derived, see `failureMarks`; null unless it failed. 64 bits, as text. */
  error_signature: string | null
  failure_pattern: string | null
  failed_step: string | null
}

/** `failure_signatures`: each set of words that a message had, by their keys (`wordKeys`). `seen_until` is not before its newest trace. */
export interface FailureSignaturesTable {
  signature: string
  seen_until: Date
  word_count: number
  words: number[]
}

/** `failure_patterns`: each pattern that a message had, and the pattern that stands for its group. */
export interface FailurePatternsTable {
  pattern_id: string
  group_id: string
  first_seen: Date
  seen_until: Date
  pattern_version: number
  pattern: string
  /** On the row of a group's own id: what its patterns have in common; null where that is the pattern. */
  general: string | null
}

/** `failure_notes`: what people wrote to a group, kept under one of its patterns. */
export interface FailureNotesTable {
  pattern_id: string
  updated_at: Date
  note: string
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

/** `execution_rollups`: what the traces of a skill came to that started in a minute, an hour or a day. Counts come as text. */
export interface RollupsTable {
  skill_name: string
  /** 60, 3,600 or 86,400. */
  width_s: number
  /** Where it begins: a multiple of its width since 1970. */
  bucket: Date
  running: ColumnType<string, number>
  success: ColumnType<string, number>
  failed: ColumnType<string, number>
  timeout: ColumnType<string, number>
  duration_sum_ms: number
  duration_max_ms: number
  /** A sketch of the durations, encoded. */
  durations: Uint8Array
  /** What its steps came to, encoded. */
  steps: Uint8Array
  /** `stepKeys`: what steps it has, an array. Null where nobody noted it: of minutes, and by versions before. */
  step_keys: ColumnType<string | null, readonly number[] | null>
  /** Of a busy hour its quarters, encoded; else null. */
  parts: string | null
}

/** `execution_rollup_overviews`: what all skills came to in a minute, an hour or a day. */
export interface RollupOverviewsTable {
  width_s: number
  bucket: Date
  /** Skill by skill, encoded. Null where a version before this has written the row. */
  runs: string | null
  /** The sum of all skills, of hours and days. */
  total: string | null
  /** Skill by skill, as versions before this have it; null in what this one writes. */
  skills: Uint8Array | null
  /** Of days and weeks which patterns failed, how often and when last: arrays as text, side by side. Null where they were not counted. */
  failure_patterns: string | null
  failure_counts: string | null
  failures_last: string | null
  /** Whether the rollups of this bucket have `step_keys`; null: no. */
  has_step_keys: boolean | null
}

/** `execution_rollup_state`, a single row: of what there are rollups. Before `rolled_from` there are none. */
export interface RollupStateTable {
  only_row: Generated<boolean>
  rolled_from: Date
  minutes_from: Date
  hours_until: Date
  days_until: Date
}

/** `execution_rollup_marks`: minutes of traces that were written to since they were rolled up. */
export interface RollupMarksTable {
  due_at: Date
  /** An int4multirange of minutes since 1970, as text. */
  minutes: string
}

/** `execution_retention`: the months that retention has looked at. Days and counts come as text. */
export interface RetentionTable {
  /** Its first day. */
  month: string
  /** Traces removed so far; of a month that was dropped whole about as many as it had, at least 1. */
  removed: ColumnType<string, number>
  /** What was past its time when it was looked at. */
  looked_for: string
  looked_at: Date
}

/** `execution_late_writes`: writes to months that are over, by the keys of their rows. */
export interface LateWritesTable {
  entry_id: string
  month: string
  trace_ids: string[]
  started_at: Date[]
}

/** The tables that the storage package knows. */
export interface Tables {
  execution_traces: ExecutionTracesTable
  execution_dead_letters: DeadLettersTable
  execution_dead_letters_not_kept: DeadLettersNotKeptTable
  failure_signatures: FailureSignaturesTable
  failure_patterns: FailurePatternsTable
  failure_notes: FailureNotesTable
  execution_rollups: RollupsTable
  execution_rollup_overviews: RollupOverviewsTable
  execution_rollup_state: RollupStateTable
  execution_rollup_marks: RollupMarksTable
  execution_retention: RetentionTable
  execution_late_writes: LateWritesTable
}
