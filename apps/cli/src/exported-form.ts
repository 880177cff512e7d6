import type { JsonObject } from '@stepwell/protocol'
import { traceJson, type WholeTrace } from '@stepwell/query'

/** The trace as it was recorded: what follows from the rest, and what is unknown, is absent. `import` takes it. */
export function exportedForm(trace: WholeTrace): JsonObject {
  const { step_count, missing_steps, metadata, error_message, ...rest } = traceJson(trace)
  return {
    ...rest,
    ...(trace.missingSteps === 0 ? {} : { missing_steps: trace.missingSteps }),
    ...(Object.keys(trace.metadata).length === 0 ? {} : { metadata: trace.metadata }),
    ...(trace.errorMessage === undefined || trace.errorIsDerived
      ? {}
      : { error_message: trace.errorMessage }),
  }
}
