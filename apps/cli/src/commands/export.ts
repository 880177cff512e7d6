import { type FilterOptions, filtersOf } from '../arguments.ts'
import type { CommandContext } from '../command.ts'
import { exportedForm } from '../exported-form.ts'
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
