import { type Kysely, sql, type Transaction } from 'kysely'
import { RUNNING_COLUMNS, type RunningRow, type RunningTrace, runningOf } from './running-traces.ts'
import { settledDurations } from './settled-durations.ts'
import type { Tables } from './tables.ts'

/** A trace that has been running for longer than such runs take. */
export interface StuckTrace extends RunningTrace {
  /** Milliseconds since its start. */
  runningMs: number
  /** Milliseconds that a run of this skill takes: as many as the quantile that was asked for, within 1 %, or `fallbackMs`. */
  limitMs: number
  /** Ended runs that `limitMs` comes from; 0: too few, so it is `fallbackMs`. */
  historyCount: number
}

/** Traces that hang. */
export interface StuckList {
  /** Those first that are over their limit by the greatest factor. */
  stuck: StuckTrace[]
  /** There are more. */
  truncated: boolean
}

/** What counts as stuck, validated. */
export interface StuckRequest {
  skill?: string | undefined
  quantile: number
  fallbackMs: number
  limit: number
}

/** Most skills with running traces that are looked at: those whose oldest runs longest. */
const SKILLS_MAX = 500
/** Days whose runs a limit comes from, where there were more of them than the newest ones that would be looked at else. */
const SETTLED_DAYS = 7
/** Newest runs of a skill that its limit comes from else, and how many it takes at least. */
const HISTORY = 500
const HISTORY_MIN = 20

interface SkillLimit {
  skill_name: string
  limit_ms: number
  history: number
}

/** The traces that run longer than runs of their skill do. One snapshot. */
export function stuckTraces(
  db: Kysely<Tables>,
  table: string,
  request: StuckRequest,
  nowMs: number,
): Promise<StuckList> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const limits = await limitsOf(trx, table, request, nowMs)
      const { rows } = await sql<RunningRow & { limit_ms: number; history: number; running_ms: number }>`
        select ${sql.join(RUNNING_COLUMNS)}, limit_ms, history, running_ms
          from (select t.*, limit_ms, history
                  from unnest(${limits.map((one) => one.skill_name)}::text[], ${limits.map((one) => one.limit_ms)}::float8[],
                              ${limits.map((one) => one.history)}::integer[]) as s (skill, limit_ms, history)
                 cross join lateral (
                       select *, ${nowMs}::float8 - extract(epoch from started_at)::float8 * 1000 as running_ms
                         from ${sql.table(table)}
                        where status = 'running' and skill_name = s.skill
                          and started_at < to_timestamp((${nowMs}::float8 - least(s.limit_ms, ${nowMs}::float8)) / 1000)
                        order by started_at limit ${request.limit + 1}) as t
                 order by running_ms / greatest(limit_ms, 1) desc, trace_id limit ${request.limit + 1}) as t
         order by running_ms / greatest(limit_ms, 1) desc, trace_id`.execute(trx)
      const stuck = rows.slice(0, request.limit).map((row) => ({
        ...runningOf(row),
        runningMs: Math.round(Number(row.running_ms)),
        limitMs: Number(row.limit_ms),
        historyCount: Number(row.history),
      }))
      return { stuck, truncated: rows.length > request.limit }
    })
}

/** How long runs take of each skill that has running ones. Runs that timed out tell nothing of that. */
async function limitsOf(
  trx: Transaction<Tables>,
  table: string,
  { skill, quantile, fallbackMs }: StuckRequest,
  nowMs: number,
): Promise<SkillLimit[]> {
  const ofSkill = skill === undefined ? sql`` : sql`and skill_name = ${skill}`
  const { rows } = await sql<{ skill_name: string }>`
    select skill_name from ${sql.table(table)} where status = 'running' ${ofSkill}
     group by skill_name order by min(started_at) limit ${SKILLS_MAX}`.execute(trx)
  const skills = rows.map(({ skill_name }) => skill_name)
  const settled = await settledDurations(trx, skills, { days: SETTLED_DAYS, nowMs })
  const isEnough = (name: string): boolean => (settled.get(name)?.count ?? 0) > HISTORY
  const newest = await newestLimits(
    trx,
    table,
    quantile,
    skills.filter((name) => !isEnough(name)),
  )
  return skills.map((name): SkillLimit => {
    const sketch = settled.get(name)
    if (sketch !== undefined && isEnough(name))
      return { skill_name: name, limit_ms: sketch.quantile(quantile) as number, history: sketch.count }
    const one = newest.get(name)
    if (one !== undefined && one.limit_ms !== null && Number(one.history) >= HISTORY_MIN)
      return { skill_name: name, limit_ms: Number(one.limit_ms), history: Number(one.history) }
    return { skill_name: name, limit_ms: fallbackMs, history: 0 }
  })
}

/** How long the newest runs of each of these skills took, those that ended by themselves. */
async function newestLimits(
  trx: Transaction<Tables>,
  table: string,
  quantile: number,
  skills: readonly string[],
): Promise<Map<string, { limit_ms: number | null; history: number }>> {
  if (skills.length === 0) return new Map()
  const { rows } = await sql<{ skill_name: string; limit_ms: number | null; history: number }>`
    select skill_name, limit_ms, history
      from unnest(${skills}::text[]) as running(skill_name),
           lateral (select percentile_disc(${quantile}) within group (order by total_duration_ms) as limit_ms, count(*)::integer as history
                      from (select status, total_duration_ms from ${sql.table(table)} as ended
                             where ended.skill_name = running.skill_name order by started_at desc limit ${HISTORY}) as newest
                     where status in ('success', 'failed') and total_duration_ms is not null) as ended`.execute(
    trx,
  )
  return new Map(rows.map((row) => [row.skill_name, row]))
}
