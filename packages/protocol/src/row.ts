import { countSteps, derive, isSameStep, type TraceState } from './assemble.ts'
import type { Expected, StepTuple } from './delta.ts'
import { parseStepId } from './ids.ts'
import { canonicalJson } from './plain-json.ts'
import {
  type JsonObject,
  STEP_STATUSES,
  type Step,
  type Trace,
  type TraceStatus,
  type TraceSummary,
} from './trace.ts'

/** The columns of `execution_traces` that say what a trace is, without its steps. */
export interface SummaryRow {
  trace_id: string
  started_at: Date
  skill_name: string
  execution_id: string | null
  status: TraceStatus
  completed_at: Date | null
  total_duration_ms: number | null
  step_count: number
  missing_steps: number
  error_message: string | null
  metadata: JsonObject
  parent_trace_id: string | null
  parent_step_id: string | null
  root_trace_id: string | null
}

/** A row of `execution_traces` as the merge law sees it. */
export interface TraceRow extends SummaryRow {
  steps: StepTuple[]
  merge_state: MergeState | null
}

/** What the next merge needs and no other column tells. Absent parts follow from the columns. */
export interface MergeState {
  /** Unless each producer's steps are all there. */
  expected?: Record<string, Expected>
  /** Of the metadata, from 2 on. */
  revision?: number
  /** The error message is not the end's own. */
  derived_error?: true
  /** While the trace runs. */
  limit_ms?: number
  /** While the trace runs. */
  held?: true
}

/** Most that an integer column holds. */
const INTEGER_MAX = 2 ** 31 - 1

/** The row of a state. Equal states have equal rows; `stateOfRow` is its inverse. */
export function rowOfState(state: TraceState): TraceRow {
  const derived = derive(state)
  return {
    trace_id: state.traceId,
    started_at: new Date(state.startedAtMs),
    skill_name: state.skill,
    execution_id: state.executionId,
    status: derived.status,
    completed_at: state.end?.completedAtMs == null ? null : new Date(state.end.completedAtMs),
    total_duration_ms: state.end?.durationMs ?? null,
    step_count: state.steps.length,
    // Many producers that each claim the most would come to more than the column holds.
    missing_steps: Math.min(derived.missingSteps, INTEGER_MAX),
    error_message: derived.errorMessage,
    metadata: state.metadata,
    parent_trace_id: state.parent?.traceId ?? null,
    parent_step_id: state.parent?.stepId == null ? null : String(state.parent.stepId),
    root_trace_id: state.parent?.rootTraceId ?? null,
    steps: state.steps,
    merge_state: mergeStateOf(state, derived.errorIsDerived),
  }
}

function mergeStateOf(state: TraceState, errorIsDerived: boolean): MergeState | null {
  const rest: MergeState = {}
  if (!sameExpected(state.expected, countSteps(state.steps))) rest.expected = state.expected
  if (state.metadataRevision > 1) rest.revision = state.metadataRevision
  if (errorIsDerived) rest.derived_error = true
  if (state.limitMs !== null && state.end === null) rest.limit_ms = state.limitMs
  if (state.isHeld && state.end === null) rest.held = true
  return Object.keys(rest).length === 0 ? null : rest
}

function sameExpected(a: Record<string, Expected>, b: Record<string, Expected>): boolean {
  const producers = Object.keys(a)
  return (
    producers.length === Object.keys(b).length &&
    producers.every((p) => a[p]?.[0] === b[p]?.[0] && a[p]?.[1] === b[p]?.[1])
  )
}

/** The state that a row holds: inverse of `rowOfState`. */
export function stateOfRow(row: TraceRow): TraceState {
  const rest = row.merge_state ?? {}
  return {
    traceId: row.trace_id,
    startedAtMs: row.started_at.getTime(),
    skill: row.skill_name,
    executionId: row.execution_id,
    parent:
      row.parent_trace_id === null
        ? null
        : {
            traceId: row.parent_trace_id,
            stepId: row.parent_step_id === null ? null : parseStepId(row.parent_step_id),
            rootTraceId: row.root_trace_id,
          },
    metadata: row.metadata,
    metadataRevision: rest.revision ?? (Object.keys(row.metadata).length === 0 ? 0 : 1),
    end:
      row.status === 'running'
        ? null
        : {
            status: row.status,
            completedAtMs: row.completed_at?.getTime() ?? null,
            durationMs: row.total_duration_ms,
            errorMessage: rest.derived_error ? null : row.error_message,
          },
    steps: row.steps,
    expected: rest.expected ?? countSteps(row.steps),
    limitMs: rest.limit_ms ?? null,
    isHeld: rest.held ?? false,
  }
}

/** Whether two rows say the same. */
export function sameRow(a: TraceRow, b: TraceRow): boolean {
  const { steps: stepsOfA, ...restOfA } = a
  const { steps: stepsOfB, ...restOfB } = b
  return (
    stepsOfA.length === stepsOfB.length &&
    canonicalOf(restOfA) === canonicalOf(restOfB) &&
    stepsOfA.every((step, i) => isSameStep(step, stepsOfB[i] as StepTuple))
  )
}

const canonicalOf = (row: Omit<TraceRow, 'steps'>): string => canonicalJson(JSON.parse(JSON.stringify(row)))

/** A row as people and tools see it, without steps. */
export function summaryOfRow(row: SummaryRow): TraceSummary {
  const summary: TraceSummary = {
    traceId: row.trace_id,
    skillName: row.skill_name,
    status: row.status,
    startedAt: row.started_at,
    stepCount: row.step_count,
    missingSteps: row.missing_steps,
    metadata: row.metadata,
  }
  if (row.execution_id !== null) summary.executionId = row.execution_id
  if (row.completed_at !== null) summary.completedAt = row.completed_at
  if (row.total_duration_ms !== null) summary.totalDurationMs = row.total_duration_ms
  if (row.error_message !== null) summary.errorMessage = row.error_message
  if (row.parent_trace_id !== null) summary.parentTraceId = row.parent_trace_id
  if (row.parent_step_id !== null) summary.parentStepId = parseStepId(row.parent_step_id)
  if (row.root_trace_id !== null) summary.rootTraceId = row.root_trace_id
  return summary
}

/** A row as people and tools see it, whole. */
export function traceOfRow(row: SummaryRow & { steps: StepTuple[] }): Trace {
  const startedAtMs = row.started_at.getTime()
  return { ...summaryOfRow(row), steps: row.steps.map((step) => stepOfTuple(step, startedAtMs)) }
}

/** A step tuple as people and tools see it. `startedAtMs` is the start of its trace. */
export function stepOfTuple(tuple: StepTuple, startedAtMs: number): Step {
  const [id, name, startMs, durationMs, status, errorMessage, parentId, attributes] = tuple
  const completed = durationMs !== undefined && durationMs !== null
  const step: Step = { id, name, status: completed ? (STEP_STATUSES[status ?? 0] ?? 'failed') : 'running' }
  if (startMs !== undefined && startMs !== null) step.timestamp = new Date(startedAtMs + startMs)
  if (completed) step.durationMs = durationMs
  if (errorMessage) step.errorMessage = errorMessage
  if (parentId !== undefined && parentId !== null) step.parentId = parentId
  if (attributes !== undefined && attributes !== null) step.attributes = attributes
  return step
}
