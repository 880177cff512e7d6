import { setFailureGroupNote } from '@stepwell/storage'
import { type CommandContext, writeLines } from '../command.ts'
import { Failure, UsageError } from '../errors.ts'

/** Keeps a note on a group of failures, or removes it. */
export async function noteFailure(
  context: CommandContext,
  id: string,
  text: string | undefined,
  { remove }: { remove?: boolean },
): Promise<void> {
  if ((text === undefined) === (remove !== true))
    throw new UsageError(
      'give the note, or --remove for none: stepwell failures note <group> "restart the proxy"',
    )
  const note = remove ? null : (text as string)
  if (!(await setFailureGroupNote(context.connections.database(), id, note)))
    throw new Failure(`There is no failure group ${id}`)
  await writeLines(context, [note === null ? 'note removed' : 'noted'])
}
