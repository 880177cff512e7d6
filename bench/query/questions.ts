import type { TraceQuery } from '@stepwell/query'
import type { Pool } from 'pg'

/** A question, and how to ask it for the i-th time: about something else each time. */
export interface Question {
  name: string
  ask(i: number): PromiseLike<unknown>
}

const SAMPLES = 500
const DAY_MS = 86_400_000

/** What people ask. Ids, skills and messages are those of traces that are there. */
export async function questions(pool: Pool, query: TraceQuery, schema: string): Promise<Question[]> {
  const table = `${schema}.execution_traces`
  const { rows } = await pool.query<{
    trace_id: string
    execution_id: string
    skill_name: string
    step: string
    user: string
  }>(
    `select trace_id, execution_id, skill_name, steps -> 0 ->> 1 as step, metadata ->> 'user' as "user"
       from (select * from ${table} where random() < 10.0 * ${SAMPLES} / (select count(*) from ${table}) limit ${10 * SAMPLES}) t
      order by md5(trace_id::text) limit ${SAMPLES}`,
  )
  const failures = await pool.query<{ error_message: string }>(
    `select error_message from (select distinct error_message from ${table} where status = 'failed' limit ${10 * SAMPLES}) t
      order by md5(error_message) limit ${SAMPLES}`,
  )
  const skills = await pool.query<{ skill_name: string }>(
    `select skill_name from ${table} group by skill_name order by count(*) desc`,
  )
  const of = (i: number) => rows[i % rows.length] as (typeof rows)[number]
  const common = skills.rows[0]?.skill_name as string
  const rare = skills.rows.at(-1)?.skill_name as string
  const message = (i: number): string => failures.rows[i % failures.rows.length]?.error_message as string
  const ago = (days: number): Date => new Date(Date.now() - days * DAY_MS)
  // Now, and earlier, between odd moments.
  const month = (i: number): { since: Date; until: Date } => {
    const until = Date.now() - (i % 50) * 100_000_007
    return { since: new Date(until - 30 * DAY_MS), until: new Date(until) }
  }
  return [
    { name: 'by_id', ask: (i) => query.getTrace(of(i).trace_id) },
    { name: 'by_execution_id', ask: (i) => query.getTraceByExecutionId(of(i).execution_id) },
    { name: 'by_skill_30_days', ask: (i) => query.queryBySkill(of(i).skill_name) },
    { name: 'by_rare_skill_30_days', ask: () => query.queryBySkill(rare) },
    { name: 'newest', ask: () => query.findTraces({}) },
    { name: 'failed', ask: (i) => query.findTraces({ status: 'failed', until: ago(i % 60) }) },
    { name: 'failed_of_skill', ask: (i) => query.findTraces({ status: 'failed', skill: of(i).skill_name }) },
    { name: 'failed_of_rare_skill', ask: () => query.findTraces({ status: 'failed', skill: rare }) },
    { name: 'by_user', ask: (i) => query.findTraces({ metadata: { user: of(i).user } }) },
    {
      name: 'dev_of_skill',
      ask: (i) => query.findTraces({ metadata: { env: 'dev' }, skill: of(i).skill_name }),
    },
    { name: 'slow_of_skill', ask: () => query.findTraces({ skill: common, minDurationMs: 60_000 }) },
    { name: 'slow', ask: () => query.findTraces({ minDurationMs: 60_000 }) },
    { name: 'slow_never', ask: () => query.findTraces({ minDurationMs: 1e12 }) },
    { name: 'slow_failed', ask: () => query.findTraces({ status: 'failed', minDurationMs: 30_000 }) },
    {
      name: 'timeouts_of_skill',
      ask: (i) => query.findTraces({ status: 'timeout', skill: of(i).skill_name }),
    },
    { name: 'common_metadata', ask: () => query.findTraces({ metadata: { env: 'prod' } }) },
    { name: 'metadata_never', ask: () => query.findTraces({ metadata: { env: 'nowhere' } }) },
    {
      name: 'failed_of_user',
      ask: (i) => query.findTraces({ status: 'failed', metadata: { user: of(i).user } }),
    },
    {
      name: 'failed_in_step',
      ask: (i) => query.findTraces({ failedStep: of(i).step, until: ago(i % 60) }),
    },
    { name: 'failed_with_words', ask: (i) => query.findTraces({ errorText: message(i) }) },
    { name: 'children', ask: (i) => query.findTraces({ parentTraceId: of(i).trace_id }) },
    { name: 'explain_failures_7_days', ask: (i) => query.explainFailures({ skill: of(i).skill_name }) },
    { name: 'stuck', ask: () => query.findStuck() },
    { name: 'by_step', ask: (i) => query.findTraces({ stepName: of(i).step, since: ago(30) }) },
    { name: 'similar_failures', ask: (i) => query.findSimilarFailures(message(i)) },
    {
      name: 'similar_failures_of_skill',
      ask: (i) => query.findSimilarFailures(message(i), { skill: common }),
    },
    {
      name: 'stats_of_skill_30_days',
      ask: (i) => query.skillStats({ skill: of(i).skill_name, ...month(i) }),
    },
    {
      name: 'stats_of_skill_30_days_by_day',
      ask: (i) => query.skillStats({ skill: of(i).skill_name, ...month(i), bucket: 'day' }),
    },
    {
      name: 'stats_of_skill_7_days_by_hour',
      ask: (i) => query.skillStats({ skill: of(i).skill_name, since: ago(7), bucket: 'hour' }),
    },
    { name: 'stats_of_all_30_days', ask: (i) => query.skillStats(month(i)) },
    { name: 'stats_of_all_30_days_by_day', ask: (i) => query.skillStats({ ...month(i), bucket: 'day' }) },
    { name: 'steps_of_skill_30_days', ask: (i) => query.stepStats({ skill: of(i).skill_name, ...month(i) }) },
    {
      name: 'steps_of_skill_30_days_by_day',
      ask: (i) => query.stepStats({ skill: of(i).skill_name, ...month(i), bucket: 'day' }),
    },
    { name: 'skills_7_days', ask: () => query.listSkills({ since: ago(7) }) },
  ]
}
