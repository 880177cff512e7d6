import type { JsonObject } from '@stepwell/protocol'
import { traceJson, type WholeTrace } from '@stepwell/query'
import { type FilterOptions, filtersOf } from '../arguments.ts'
import type { CommandContext } from '../command.ts'
import { counted } from '../format.ts'

/** Writes the traces that match as NDJSON, newest first, as `import` takes them. Memory holds a page. */
export async function exportTraces(
  context: CommandContext,
  { limit = Number.POSITIVE_INFINITY, ...options }: FilterOptions & { limit?: number },
): Promise<void> {
  const { terminal } = context
  let count = 0
  for await (const trace of context.connections.query().findWholeTraces(filtersOf(options))) {
    if (count >= limit || context.stop.aborted) break
    await terminal.out(`${JSON.stringify(exportedForm(trace))}\n`)
    count += 1
    if (count % 500 === 0) terminal.progress(`${counted(count, 'trace')}`)
  }
  terminal.progress(undefined)
  if (terminal.showsProgress) terminal.note(`exported ${counted(count, 'trace')}`)
}

/** The trace as it was recorded: what follows from the rest, and what is unknown, is absent. */
function exportedForm(trace: WholeTrace): JsonObject {
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
