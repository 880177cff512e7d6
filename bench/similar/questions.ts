import type { TraceQuery } from '@stepwell/query'
import { makeSkills, pick, zipf } from '../generated-traces/skills.ts'
import type { Question } from '../query/questions.ts'

const DAY_MS = 86_400_000
/** Of failures that are built. */
export const SKILLS = 200

/** Groups of failures, and one of them, the most frequent. */
export function groupQuestions(query: TraceQuery): Question[] {
  const days = (count: number): { since: Date } => ({ since: new Date(Date.now() - count * DAY_MS) })
  return [
    { name: 'groups_7_days', ask: () => query.listFailureGroups(days(7)) },
    { name: 'groups_90_days', ask: () => query.listFailureGroups(days(90)) },
    {
      name: 'group_7_days',
      ask: async () => {
        const { groups } = await query.listFailureGroups({ ...days(1), limit: 1 })
        return query.getFailureGroup(groups[0]?.groupId as string, days(7))
      },
    },
  ]
}

/** What people look for in messages, given these, the most frequent first: something else each time, the same for the same random numbers. */
export function similarQuestions(
  query: TraceQuery,
  messages: readonly string[],
  random: () => number,
): Question[] {
  const frequent = (): string => messages[zipf(messages.length, random)] as string
  const any = (): string => pick(messages, random)
  /** The message as it would come the next time: what varies has other values. */
  const changed = (message: string): string =>
    message.replaceAll(/\d+/g, () => String(Math.floor(random() * 1e6)))
  const words = (): string => {
    const all = any().split(' ')
    return Array.from({ length: 3 }, () => pick(all, random)).join(' ')
  }
  const skills = makeSkills(SKILLS)
  const since = new Date(Date.now() - 7 * DAY_MS)
  const until = new Date(Date.now() - 30 * DAY_MS)
  return [
    { name: 'frequent', ask: () => query.findSimilarFailures(frequent()) },
    { name: 'any', ask: () => query.findSimilarFailures(any()) },
    { name: 'changed', ask: () => query.findSimilarFailures(changed(any())) },
    { name: 'words', ask: () => query.findSimilarFailures(words()) },
    { name: 'hundred', ask: () => query.findSimilarFailures(any(), { limit: 100 }) },
    { name: 'window', ask: () => query.findSimilarFailures(changed(any()), { since }) },
    { name: 'until', ask: () => query.findSimilarFailures(changed(any()), { until }) },
    {
      name: 'skill',
      ask: () => query.findSimilarFailures(changed(any()), { skill: pick(skills, random).name }),
    },
    {
      name: 'nothing',
      ask: () => query.findSimilarFailures(`${any()} and nothing besides`, { threshold: 0.9 }),
    },
  ]
}
