import type { Json, JsonObject, Step, Trace, TraceSummary } from '@stepwell/protocol'
import type { ClockSkew } from './clock-skew.ts'

// The form that traces have outside of TypeScript (command line, HTTP, files): snake_case, times as ISO 8601 in UTC, durations in
// milliseconds. What is unknown is absent.

/** A trace without its steps. */
export function summaryJson(trace: TraceSummary): JsonObject {
  return present({
    trace_id: trace.traceId,
    skill_name: trace.skillName,
    execution_id: trace.executionId,
    status: trace.status,
    started_at: trace.startedAt,
    completed_at: trace.completedAt,
    total_duration_ms: trace.totalDurationMs,
    step_count: trace.stepCount,
    missing_steps: trace.missingSteps,
    error_message: trace.errorMessage,
    metadata: trace.metadata,
    parent_trace_id: trace.parentTraceId,
    parent_step_id: trace.parentStepId,
    root_trace_id: trace.rootTraceId,
  })
}

/** A trace with its steps. */
export function traceJson(trace: Trace): JsonObject {
  return { ...summaryJson(trace), steps: trace.steps.map(stepJson) }
}

/** What does not fit in the times of a trace. */
export function skewJson(skew: ClockSkew): JsonObject {
  return {
    steps_before: skew.stepsBefore,
    before_ms: skew.beforeMs,
    steps_after: skew.stepsAfter,
    after_ms: skew.afterMs,
    end_before_start_ms: skew.endBeforeStartMs,
  }
}

/** A step. */
export function stepJson(step: Step): JsonObject {
  return present({
    id: step.id,
    name: step.name,
    timestamp: step.timestamp,
    duration_ms: step.durationMs,
    status: step.status,
    error_message: step.errorMessage,
    parent_id: step.parentId,
    attributes: step.attributes,
  })
}

/** An object in this form: undefined members are left out, Dates become ISO texts. */
export function present(members: Record<string, Json | Date | undefined>): JsonObject {
  const json: JsonObject = {}
  for (const key of Object.keys(members)) {
    const value = members[key]
    if (value !== undefined) json[key] = value instanceof Date ? value.toISOString() : value
  }
  return json
}
