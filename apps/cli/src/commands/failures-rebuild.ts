import { rebuildFailures, regroupFailures } from '@stepwell/storage'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { counted } from '../format.ts'

/** Makes anew what failures are found by, and groups them. Interrupted, it stops after the batch in work; the next call goes on. */
export async function rebuildFailureMarks(
  context: CommandContext,
  { all, json }: { all?: boolean; json?: boolean },
): Promise<number> {
  const { terminal, stop, connections } = context
  const database = connections.database()
  const { looked, changed } = await rebuildFailures(database, {
    all: all ?? false,
    signal: stop,
    onProgress: (progress) => terminal.progress(`${counted(progress.looked, 'failure')} looked at`),
  })
  terminal.progress(undefined)
  const grouped = stop.aborted ? undefined : await regroupFailures(database)
  if (json) {
    await writeJson(context, {
      looked,
      changed,
      stopped: stop.aborted,
      ...(grouped === undefined ? {} : { patterns: grouped.patterns, groups: grouped.groups }),
    })
  } else {
    await writeLines(context, [
      `${counted(looked, 'failure')} looked at, ${changed.toLocaleString('en-US')} changed`,
    ])
    if (grouped !== undefined)
      await writeLines(context, [
        `${counted(grouped.patterns, 'pattern')} in ${counted(grouped.groups, 'group')}`,
      ])
    if (stop.aborted) terminal.note('stopped: the same command goes on from here')
  }
  return stop.aborted ? 3 : 0
}
