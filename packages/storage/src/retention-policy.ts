import {
  FINAL_STATUSES,
  type FinalStatus,
  InvalidInputError,
  type Month,
  monthBounds,
  type TraceStatus,
} from '@stepwell/protocol'
import { type RawBuilder, sql } from 'kysely'

/** How long the finished traces of a class are kept. */
export interface RetentionRule {
  /** Of this skill only. Default: of all. */
  skill?: string
  /** With this status only. Default: with any but `running`. */
  status?: FinalStatus
  /** Days that they are kept at least, from the end of their month on: 2 to 36,500. */
  keepDays: number
}

/** What is kept, and for how long. Without rules and months: everything, for ever. */
export interface RetentionPolicy {
  /** The most specific one counts: skill and status, skill, status, any. At most 100, each class once. */
  rules: readonly RetentionRule[]
  /** Whole months to keep, the current one included, whatever the rules say, and two days more; 0 keeps all. */
  keepMonths: number
}

/** Fewest days that a class is kept: late writes to a month are noted a day after its end, and clocks differ. */
export const KEEP_MIN_DAYS = 2
const KEEP_MAX_DAYS = 36_500
const RULES_MAX = 100
const DAY_MS = 86_400_000

/** What a trace's class is called when no rule speaks of it, and when it runs. */
export const OTHER_CLASS = 'others'
/** Running traces: never removed. */
export const RUNNING_CLASS = 'running'

/**
 * Rules as people write them: `success=7d, failed=90d, docker-build/failed=365d, *=400d`. A class is a status, or
 * a skill and a status behind the last slash; `*` is any. What commas, spaces or percent signs a skill's name has are
 * percent-encoded. Sorted, the most specific first. Throws InvalidInputError that names the rule.
 */
export function parseRetentionRules(text: string): RetentionRule[] {
  const rules = text
    .split(/[,\s]+/)
    .filter((word) => word !== '')
    .map(parseRule)
  return sortRules(rules)
}

function parseRule(word: string): RetentionRule {
  const [, skill, status, days] = /^(?:(.+)\/)?([a-z]+|\*)=(\d{1,6})d$/.exec(word) ?? []
  if (days === undefined)
    throw new InvalidInputError(
      `'${word}' is no rule of retention: write success=7d, failed=90d, *=365d, or for one skill docker-build/failed=30d`,
    )
  if (status !== '*' && !FINAL_STATUSES.includes(status as FinalStatus))
    throw new InvalidInputError(
      `'${word}' is no rule of retention: the status is one of ${FINAL_STATUSES.join(', ')}, or * for any`,
    )
  return {
    ...(skill === undefined ? {} : { skill: decodeName(skill, word) }),
    ...(status === '*' ? {} : { status: status as FinalStatus }),
    keepDays: Number(days),
  }
}

function decodeName(name: string, word: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    throw new InvalidInputError(
      `'${word}' is no rule of retention: a percent sign in a skill's name is written %25`,
    )
  }
}

/** The rules, the most specific first: the first that fits is the one that counts. Throws InvalidInputError. */
export function sortRules(rules: readonly RetentionRule[]): RetentionRule[] {
  if (rules.length > RULES_MAX) throw new InvalidInputError(`at most ${RULES_MAX} rules of retention`)
  const seen = new Set<string>()
  for (const rule of rules) {
    const name = classText(rule)
    if (seen.has(name)) throw new InvalidInputError(`two rules of retention for ${name}`)
    seen.add(name)
    const { keepDays } = rule
    if (!Number.isInteger(keepDays) || keepDays < KEEP_MIN_DAYS || keepDays > KEEP_MAX_DAYS)
      throw new InvalidInputError(
        `retention of ${name}: ${KEEP_MIN_DAYS} to ${KEEP_MAX_DAYS} days, not ${keepDays}`,
      )
  }
  const weight = ({ skill, status }: RetentionRule): number =>
    (skill === undefined ? 0 : 2) + (status === undefined ? 0 : 1)
  return [...rules].sort((a, b) => weight(b) - weight(a) || (classText(a) < classText(b) ? -1 : 1))
}

/** The class that a rule speaks of, as `parseRetentionRules` reads it: `failed`, `docker-build/failed`, `*`. */
export function classText({ skill, status }: Omit<RetentionRule, 'keepDays'>): string {
  const name = skill?.replace(/[%,\s]/g, (character) => encodeURIComponent(character))
  return `${name === undefined ? '' : `${name}/`}${status ?? '*'}`
}

/** The number of the rule that counts for such a trace; -1 if it runs, `rules.length` if none does. `rules` sorted. */
export function classOf(
  rules: readonly RetentionRule[],
  trace: { skillName: string; status: TraceStatus },
): number {
  if (trace.status === 'running') return -1
  const found = rules.findIndex(
    ({ skill, status }) =>
      (skill === undefined || skill === trace.skillName) && (status === undefined || status === trace.status),
  )
  return found < 0 ? rules.length : found
}

/** The same over the columns of a row. */
export function classSql(rules: readonly RetentionRule[]): RawBuilder<number> {
  const cases = rules.map(({ skill, status }, i) => {
    const wanted = [
      ...(skill === undefined ? [] : [sql`skill_name = ${skill}::text`]),
      ...(status === undefined ? [] : [sql`status = ${status}::text`]),
    ]
    return sql`when ${wanted.length === 0 ? sql`true` : sql.join(wanted, sql` and `)} then ${sql.lit(i)}`
  })
  return sql`case when status = 'running' then -1 ${sql.join(cases, sql` `)} else ${sql.lit(rules.length)} end`
}

/** When all traces of a month that a rule speaks of have been kept long enough: milliseconds since 1970. */
export function expiryMs(month: Month, { keepDays }: RetentionRule): number {
  return monthBounds(month).toMs + keepDays * DAY_MS
}
