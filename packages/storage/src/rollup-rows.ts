import type { TraceStatus } from '@stepwell/protocol'
import { addOverview, HourRollup, type MinuteRange, Rollup, RunRollup } from '@stepwell/protocol/statistics'
import { type RawBuilder, sql, type Transaction } from 'kysely'
import { failuresOfDays, failuresOfWeek, NO_FAILURES } from './failure-rollups.ts'
import { type BySkill, batchesOf, RollupWriter, timeOf, WEEK, type Width } from './rollup-writer.ts'
import type { RollupsTable, Tables } from './tables.ts'

/** Traces that are soon read. */
const LITTLE = 2_000

/**
 * Rolls up the traces that started in these minutes anew, in place of what is there of them; `range` is made of whole widths. Goes an
 * hour at a time, more where there is little, and stops after the first that ends after `untilMs`. Gives the minute it came to, and how
 * many traces it read. Idempotent.
 */
export async function rollTraces(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
  width: 1 | 60,
  untilMs = Number.POSITIVE_INFINITY,
): Promise<{ at: number; traces: number }> {
  let [at, traces, span] = [from, 0, 60]
  while (at < to) {
    const first = await firstMinute(trx, at, to)
    const begin = first === undefined ? to : Math.floor(first / width) * width
    const end = Math.min(to, begin + span)
    await removeRollups(trx, width, [at, end])
    await removeOverviews(trx, width, [at, end])
    // Minutes of all skills are kept for ever: what is old is rolled up to hours, and to those.
    if (width > 1) await removeOverviews(trx, 1, [at, end])
    const read = begin < end ? await rollSpan(trx, [begin, end], width) : 0
    traces += read
    span = nextSpan(span, read)
    at = end
    if (Date.now() > untilMs) break
  }
  return { at, traces }
}

const minuteColumn = (time: RawBuilder<unknown>): RawBuilder<number> =>
  sql<number>`floor(date_part('epoch', ${time}) / 60)::integer`

async function firstMinute(trx: Transaction<Tables>, from: number, to: number): Promise<number | undefined> {
  const row = await trx
    .selectFrom('execution_traces')
    .select(minuteColumn(sql.ref('started_at')).as('minute'))
    .where('started_at', '>=', timeOf(from))
    .where('started_at', '<', timeOf(to))
    .orderBy('started_at')
    .limit(1)
    .executeTakeFirst()
  return row && Number(row.minute)
}

/** How many minutes to take next, after so many gave so many traces: a statement should be worth its while, and be over soon. */
export function nextSpan(minutes: number, traces: number): number {
  return traces < LITTLE ? Math.min(1_440, minutes * 2) : 60
}

async function rollSpan(trx: Transaction<Tables>, [from, to]: MinuteRange, width: 1 | 60): Promise<number> {
  const select = trx
    .selectFrom('execution_traces')
    .select(['skill_name', 'status', 'total_duration_ms'])
    .select(sql<string>`steps::text`.as('steps'))
    .select(minuteColumn(sql.ref('started_at')).as('minute'))
    .where('started_at', '>=', timeOf(from))
    .where('started_at', '<', timeOf(to))
    .orderBy('started_at')
  const writer = new RollupWriter(trx)
  let [bucket, skills]: [number, BySkill<Rollup | HourRollup>] = [from, new Map()]
  let [minute, runs]: [number, BySkill<RunRollup>] = [from, new Map()]
  let traces = 0
  for await (const rows of batchesOf<TraceRow>(trx, select.compile())) {
    traces += rows.length
    for (const row of rows) {
      const own = Number(row.minute)
      if (own >= bucket + width) {
        await writer.putBucket(width, bucket, skills)
        bucket = Math.floor(own / width) * width
        skills = new Map()
      }
      const durationMs = row.total_duration_ms === null ? null : Number(row.total_duration_ms)
      const { skill_name: skill, status, steps } = row
      targetOf(
        made(skills, skill, () => emptyOf(width, bucket)),
        own,
      ).add({
        status,
        durationMs,
        steps,
        part: width === 1 ? undefined : own,
      })
      if (width === 1) continue
      if (own > minute) {
        await writer.putOverview(1, minute, runs)
        minute = own
        runs = new Map()
      }
      made(runs, skill, () => new RunRollup()).add(status, durationMs)
    }
  }
  await writer.putBucket(width, bucket, skills)
  await writer.putOverview(1, minute, runs)
  await writer.flush()
  return traces
}

const emptyOf = (width: Width, bucket: number): Rollup | HourRollup =>
  width === 60 ? new HourRollup(bucket) : new Rollup()

/** What a run that started in this minute is to be added to. */
const targetOf = (rollup: Rollup | HourRollup, minute: number): Rollup =>
  rollup instanceof HourRollup ? rollup.at(minute) : rollup

interface TraceRow {
  skill_name: string
  status: TraceStatus
  total_duration_ms: number | null
  steps: string
  minute: number
}

function made<T>(bySkill: BySkill<T>, skill: string, make: () => T): T {
  const known = bySkill.get(skill)
  if (known !== undefined) return known
  const fresh = make()
  bySkill.set(skill, fresh)
  return fresh
}

/** Merges the rollups of minutes to those of hours, or those of hours to days, in place of what is there; `range` is made of whole ones. */
export async function mergeRollups(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
  width: 60 | 1_440,
): Promise<void> {
  const part: Width = width === 60 ? 1 : 60
  await removeRollups(trx, width, [from, to])
  await removeOverviews(trx, width, [from, to])
  const into = sql<number>`floor(extract(epoch from bucket) / ${sql.lit(width * 60)})::integer`
  const select = trx
    .selectFrom('execution_rollups')
    .select(['skill_name', 'running', 'success', 'failed', 'timeout'])
    .select(['duration_sum_ms', 'duration_max_ms', 'durations', 'steps', into.as('into')])
    .select(sql<number>`floor(extract(epoch from bucket) / ${sql.lit(part * 60)})::integer`.as('part'))
    .where('width_s', '=', part * 60)
    .where('bucket', '>=', timeOf(from))
    .where('bucket', '<', timeOf(to))
    // Skill by skill, so that memory holds the steps of one; the parts of an hour in order.
    .orderBy('into')
    .orderBy('skill_name')
    .orderBy('bucket')
  const failures = width === 1_440 ? await failuresOfDays(trx, [from, to]) : undefined
  const writer = new RollupWriter(trx)
  let current: { bucket: number; skill: string; rollup: Rollup | HourRollup } | undefined
  let runs: BySkill<RunRollup> = new Map()
  const put = async (next: number | undefined): Promise<void> => {
    if (current === undefined) return
    const { bucket, skill, rollup } = current
    runs.set(skill, await writer.putRollup(width, bucket, skill, rollup))
    if (bucket === next) return
    await writer.putOverview(width, bucket, runs, failures && (failures.get(bucket) ?? NO_FAILURES))
    runs = new Map()
  }
  for await (const rows of batchesOf<StoredRollup & { into: number; part: number }>(trx, select.compile()))
    for (const row of rows) {
      const bucket = Number(row.into) * width
      if (current?.bucket !== bucket || current.skill !== row.skill_name) {
        await put(bucket)
        current = { bucket, skill: row.skill_name, rollup: emptyOf(width, bucket) }
      }
      const minutes = Number(row.part) * part
      const target = targetOf(current.rollup, minutes)
      target.runs.addStored(row)
      target.addEncodedSteps(row.steps, Number(row.part))
    }
  await put(undefined)
  await writer.flush()
}

/** Merges the overviews of days to those of weeks, in place of what is there; `range` is made of whole ones. */
export async function mergeWeeks(trx: Transaction<Tables>, [from, to]: MinuteRange): Promise<void> {
  await removeOverviews(trx, WEEK, [from, to])
  const writer = new RollupWriter(trx)
  for (let week = from; week < to; week += WEEK) {
    const days = await trx
      .selectFrom('execution_rollup_overviews')
      .select(['runs', 'skills'])
      .where('width_s', '=', 1_440 * 60)
      .where('bucket', '>=', timeOf(week))
      .where('bucket', '<', timeOf(week + WEEK))
      .execute()
    const runs: BySkill<RunRollup> = new Map()
    for (const { runs: text, skills: bytes } of days)
      addOverview((text ?? bytes) as string | Uint8Array, (skill) => made(runs, skill, () => new RunRollup()))
    await writer.putOverview(WEEK, week, runs, await failuresOfWeek(trx, [week, week + WEEK]))
  }
  await writer.flush()
}

/** Removes the rollups of skills of this width that lie in the range. */
export const removeRollups = (trx: Transaction<Tables>, width: Width, range: MinuteRange): Promise<void> =>
  remove(trx, 'execution_rollups', width, range)

const removeOverviews = (
  trx: Transaction<Tables>,
  width: Width | typeof WEEK,
  range: MinuteRange,
): Promise<void> => remove(trx, 'execution_rollup_overviews', width, range)

async function remove(
  trx: Transaction<Tables>,
  table: 'execution_rollups' | 'execution_rollup_overviews',
  width: number,
  [from, to]: MinuteRange,
): Promise<void> {
  await trx
    .deleteFrom(table)
    .where('width_s', '=', width * 60)
    .where('bucket', '>=', timeOf(from))
    .where('bucket', '<', timeOf(to))
    .execute()
}

type StoredRollup = Pick<
  RollupsTable,
  'skill_name' | 'duration_sum_ms' | 'duration_max_ms' | 'durations' | 'steps'
> &
  Record<TraceStatus, string>
