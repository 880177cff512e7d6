import type { JsonObject } from '@stepwell/protocol'
import type { ComparedStep, StepRun, TraceComparison } from './compare-traces.ts'
import { present, summaryJson } from './json-form.ts'

/** A comparison in the form that it has outside of TypeScript: see `json-form.ts`. */
export function comparisonJson(comparison: TraceComparison): JsonObject {
  const { firstDivergence } = comparison
  return present({
    a: summaryJson(comparison.a),
    b: summaryJson(comparison.b),
    same_count: comparison.sameCount,
    status_count: comparison.statusCount,
    missing_count: comparison.missingCount,
    added_count: comparison.addedCount,
    first_divergence: firstDivergence && stepJson(firstDivergence),
    metadata: comparison.metadata.map(({ path, a, b }) => present({ path, a, b })),
    steps: comparison.steps.map(stepJson),
    steps_truncated: comparison.stepsTruncated,
  })
}

function stepJson({ path, occurrence, change, a, b, durationChangeMs }: ComparedStep): JsonObject {
  return present({
    path,
    occurrence,
    change,
    a: a && runJson(a),
    b: b && runJson(b),
    duration_change_ms: durationChangeMs,
  })
}

function runJson({ id, startMs, durationMs, status, errorMessage }: StepRun): JsonObject {
  return present({ id, start_ms: startMs, duration_ms: durationMs, status, error_message: errorMessage })
}
