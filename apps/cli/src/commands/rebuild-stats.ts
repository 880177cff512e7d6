import { rebuildRollups } from '@stepwell/storage'
import { type CommandContext, writeLines } from '../command.ts'
import { Failure } from '../errors.ts'
import { counted } from '../format.ts'

/** Makes the rollups anew from the traces; with `isResumed` it only goes on with what is missing. */
export async function rebuildStats(
  { connections, terminal, stop, ...context }: CommandContext,
  { resume = false }: { resume?: boolean },
): Promise<void> {
  const traces = await rebuildRollups(connections.database(), {
    isResumed: resume,
    signal: stop,
    onProgress: ({ traces, rolledFromMs }) =>
      terminal.progress(
        `${counted(traces, 'trace')}, back to ${new Date(rolledFromMs).toISOString().slice(0, 16)}`,
      ),
  })
  terminal.progress(undefined)
  if (stop.aborted)
    throw new Failure(
      'stopped half-way: statistics are exact, but slow for what is missing; workers go on with it',
    )
  await writeLines({ connections, terminal, stop, ...context }, [`rolled up ${counted(traces, 'trace')}`])
}
