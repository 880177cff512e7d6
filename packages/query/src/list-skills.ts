import { type Kysely, sql } from 'kysely'
import type { Span } from './rollup-cover.ts'
import { skillStats } from './skill-stats.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** What ran of a skill. */
export interface SkillSummary {
  skillName: string
  traceCount: number
  successCount: number
  failedCount: number
  timeoutCount: number
  runningCount: number
  /** Milliseconds, within 1 %: half of the finished runs took at most this long. Absent where no duration is known. */
  p50DurationMs?: number
  /** Milliseconds, within 1 %: 95 of 100 finished runs took at most this long. */
  p95DurationMs?: number
  lastStartedAt: Date
}

/** The skills that ran in a window, those with the most runs first, at most `limit`. */
export async function listSkills(
  db: Kysely<Tables>,
  { window, limit, nowMs }: { window: Span; limit: number; nowMs: number },
): Promise<SkillSummary[]> {
  const { skills } = await skillStats(db, { skill: undefined, window, bucketMs: undefined, limit, nowMs })
  const last = await lastStarts(
    db,
    skills.map(({ skillName }) => skillName),
    window,
  )
  return skills.flatMap((skill) => {
    const lastStartedMs = last.get(skill.skillName)
    // All that it had was removed meanwhile.
    if (lastStartedMs === undefined) return []
    const { skillName, traceCount, successCount, failedCount, timeoutCount, runningCount } = skill
    const { p50DurationMs, p95DurationMs } = skill
    return {
      ...{ skillName, traceCount, successCount, failedCount, timeoutCount, runningCount },
      ...(p50DurationMs === undefined ? {} : { p50DurationMs }),
      ...(p95DurationMs === undefined ? {} : { p95DurationMs }),
      lastStartedAt: new Date(lastStartedMs),
    }
  })
}

/** When the newest run of each skill started: one look into an index for each. */
async function lastStarts(
  db: Kysely<Tables>,
  skills: readonly string[],
  { fromMs, toMs }: Span,
): Promise<Map<string, number>> {
  const newest = db
    .selectFrom('execution_traces')
    .select('started_at')
    .whereRef('skill_name', '=', sql.ref('skill.name'))
    .where('started_at', '>=', new Date(fromMs))
    .where('started_at', '<', new Date(toMs))
    .orderBy('started_at', 'desc')
    .limit(1)
  const { rows } = await sql<{ name: string; started_ms: string }>`
    select skill.name, ${millisecondsOf(sql`newest.started_at`)} as started_ms
      from unnest(${skills}::text[]) as skill(name)
     cross join lateral ${newest} as newest`.execute(db)
  return new Map(rows.map((row) => [row.name, Number(row.started_ms)]))
}
