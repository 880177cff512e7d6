import { present, type SimilarFailure } from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { cutList } from '../cut-list.ts'
import { UsageError } from '../errors.ts'
import { agoText, counted } from '../format.ts'
import { type Style, tableLines } from '../terminal.ts'
import { notesJson, noteText } from './failures.ts'

/** Failures whose message is like the text. Throws UsageError where the text has no word: nothing is like nothing. */
export async function findSimilar(
  context: CommandContext,
  text: string,
  options: { limit: number; threshold?: number; skill?: string; since?: Date; until?: Date; json?: boolean },
): Promise<void> {
  // Mostly a variable of the shell that is not set: that nothing was found would look like an answer.
  if (text.trim() === '')
    throw new UsageError('the text is empty: give the error message, or words of it, in quotes')
  const { json, limit, ...asked } = options
  const query = context.connections.query()
  const { rows: failures, truncated } = await cutList(limit, (count) =>
    query.findSimilarFailures(text, { ...asked, limit: count }),
  )
  if (json) {
    await writeJson(context, {
      failures: failures.map((failure) =>
        present({
          trace_id: failure.traceId,
          similarity_score: failure.similarityScore,
          error_message: failure.errorMessage,
          skill_name: failure.skillName,
          execution_id: failure.executionId,
          started_at: failure.startedAt,
          group_id: failure.groupId,
          notes: notesJson(failure.notes),
        }),
      ),
      truncated,
    })
    return
  }
  if (failures.length === 0) {
    context.terminal.note('no failure is like this: a lower --threshold finds more')
    return
  }
  const nowMs = Date.now()
  const lines = tableLines<SimilarFailure>(
    failures,
    [
      { title: 'LIKE', text: (one) => `${Math.round(one.similarityScore * 100)} %`, right: true },
      { title: 'STARTED', text: (one) => agoText(one.startedAt, nowMs) },
      { title: 'SKILL', text: (one) => one.skillName, flexible: 10, optional: 1 },
      { title: 'ERROR', text: (one) => one.errorMessage, flexible: 20, style: () => 'red' },
      { title: 'TRACE', text: (one) => one.traceId },
      ...(failures.some(({ notes }) => notes.length > 0)
        ? [{ title: 'NOTE', text: noteText, flexible: 16, style: (): Style => 'green' }]
        : []),
    ],
    context.terminal,
  )
  await writeLines(context, lines)
  if (truncated)
    context.terminal.note(`only the ${counted(failures.length, 'failure')} most like it: --limit shows more`)
}
