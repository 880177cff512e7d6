import { present, type SkillSummary } from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { cutList } from '../cut-list.ts'
import { agoText, counted, durationText } from '../format.ts'
import { type Column, tableLines } from '../terminal.ts'

const columns = (nowMs: number): Column<SkillSummary>[] => {
  const count = (title: string, of: (skill: SkillSummary) => number, optional = 0): Column<SkillSummary> => ({
    title,
    text: (skill) => (of(skill) === 0 ? '–' : of(skill).toLocaleString('en-US')),
    right: true,
    optional,
  })
  return [
    { title: 'SKILL', text: (skill) => skill.skillName, flexible: 12 },
    count('RUNS', (skill) => skill.traceCount),
    {
      ...count('FAILED', (skill) => skill.failedCount),
      style: (s) => (s.failedCount > 0 ? 'red' : undefined),
    },
    {
      ...count('TIMEOUT', (skill) => skill.timeoutCount),
      style: (s) => (s.timeoutCount > 0 ? 'yellow' : undefined),
    },
    count('RUNNING', (skill) => skill.runningCount, 2),
    { title: 'P50', text: (skill) => durationText(skill.p50DurationMs), right: true, optional: 3 },
    { title: 'P95', text: (skill) => durationText(skill.p95DurationMs), right: true },
    { title: 'LAST', text: (skill) => agoText(skill.lastStartedAt, nowMs), optional: 1 },
  ]
}

/** The skills that ran, and what came of it. */
export async function listSkills(
  context: CommandContext,
  options: { since?: Date; until?: Date; limit: number; json?: boolean },
): Promise<void> {
  const { json, limit, ...asked } = options
  const query = context.connections.query()
  const { rows: skills, truncated } = await cutList(limit, (count) =>
    query.listSkills({ ...asked, limit: count }),
  )
  if (json) {
    await writeJson(context, {
      skills: skills.map((skill) =>
        present({
          skill_name: skill.skillName,
          trace_count: skill.traceCount,
          success_count: skill.successCount,
          failed_count: skill.failedCount,
          timeout_count: skill.timeoutCount,
          running_count: skill.runningCount,
          p50_duration_ms: skill.p50DurationMs,
          p95_duration_ms: skill.p95DurationMs,
          last_started_at: skill.lastStartedAt,
        }),
      ),
      truncated,
    })
    return
  }
  if (skills.length === 0) context.terminal.note('no skill has run')
  else await writeLines(context, tableLines(skills, columns(Date.now()), context.terminal))
  if (truncated)
    context.terminal.note(`the ${counted(skills.length, 'skill')} with the most runs: --limit shows more`)
}
