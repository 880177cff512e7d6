import { type Kysely, sql } from 'kysely'
import type { Tables } from './tables.ts'

/** What became of the runs of a skill. */
export interface SkillSummary {
  skillName: string
  /** Of all statuses. */
  traceCount: number
  failedCount: number
  timeoutCount: number
  runningCount: number
  lastStartedAt: Date
}

/** Counts the traces of each skill. Those without one, whose beginning never arrived, are left out. */
export async function fetchSkills(
  db: Kysely<Tables>,
  options: { since: Date; until?: Date | undefined; limit: number },
): Promise<SkillSummary[]> {
  let query = db
    .selectFrom('execution_traces')
    .where('skill_name', '!=', '')
    .where('started_at', '>=', options.since)
  if (options.until !== undefined) query = query.where('started_at', '<', options.until)
  const rows = await query
    .select((eb) => [
      'skill_name',
      eb.fn.countAll<string>().as('traces'),
      eb.fn.countAll<string>().filterWhere('status', '=', 'failed').as('failed'),
      eb.fn.countAll<string>().filterWhere('status', '=', 'timeout').as('timeout'),
      eb.fn.countAll<string>().filterWhere('status', '=', 'running').as('running'),
      sql<string>`floor(extract(epoch from max(started_at)) * 1000)::bigint`.as('last_ms'),
    ])
    .groupBy('skill_name')
    .orderBy('last_ms', 'desc')
    .orderBy(sql`skill_name collate "C"`)
    .limit(options.limit)
    .execute()
  return rows.map((row) => ({
    skillName: row.skill_name,
    traceCount: Number(row.traces),
    failedCount: Number(row.failed),
    timeoutCount: Number(row.timeout),
    runningCount: Number(row.running),
    lastStartedAt: new Date(Number(row.last_ms)),
  }))
}
