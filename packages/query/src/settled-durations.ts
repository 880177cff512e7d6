import { ByteReader, DurationSketch } from '@stepwell/protocol/statistics'
import { sql, type Transaction } from 'kysely'
import { readExtent } from './read-rollups.ts'
import { coverOf } from './rollup-cover.ts'
import { bytesOf } from './rollup-parts.ts'
import type { Tables } from './tables.ts'

const DAY = 1_440
const DAY_MS = DAY * 60_000
/** Timeouts of a skill that are taken out one by one; one that has more is left out. */
const TIMEOUTS_MAX = 1_000

/**
 * How long runs of these skills took that started in the last `days` days that are over, in UTC, and ended by themselves: from a small row a skill
 * and day, whatever ran in it. Days that are not rolled up, or were written to since, are left out, and skills of which nothing is known. A timeout
 * tells when somebody gave up, not how long a run takes: these are taken out again, one by one.
 */
export async function settledDurations(
  trx: Transaction<Tables>,
  skills: readonly string[],
  { days, nowMs }: { days: number; nowMs: number },
): Promise<Map<string, DurationSketch>> {
  const toMs = Math.floor(nowMs / DAY_MS) * DAY_MS
  const cover = coverOf({ fromMs: toMs - days * DAY_MS, toMs }, await readExtent(trx), DAY)
  const settled = cover.rollups
    .filter(({ width }) => width === DAY)
    .map(({ range: [from, to] }) => [from, to])
  if (skills.length === 0 || settled.length === 0) return new Map()
  const ranges = (column: string) =>
    sql<boolean>`(${sql.join(
      settled.map(([from, to]) => {
        const time = (minute = 0): Date => new Date(minute * 60_000)
        return sql`${sql.ref(column)} >= ${time(from)} and ${sql.ref(column)} < ${time(to)}`
      }),
      sql` or `,
    )})`
  const rollups = await trx
    .selectFrom('execution_rollups')
    .select(['skill_name', 'timeout', 'durations'])
    .where(sql<boolean>`skill_name = any(${skills})`)
    .where('width_s', '=', DAY * 60)
    .where(ranges('bucket'))
    .execute()
  const bySkill = new Map<string, { sketch: DurationSketch; timeouts: number }>()
  for (const { skill_name: skill, timeout, durations } of rollups) {
    const known = bySkill.get(skill) ?? { sketch: new DurationSketch(), timeouts: 0 }
    known.sketch.addEncoded(new ByteReader(bytesOf(durations)))
    known.timeouts += Number(timeout)
    bySkill.set(skill, known)
  }
  for (const [skill, { timeouts }] of bySkill) if (timeouts > TIMEOUTS_MAX) bySkill.delete(skill)
  const having = [...bySkill].filter(([, { timeouts }]) => timeouts > 0).map(([skill]) => skill)
  if (having.length > 0) {
    const timedOut = await trx
      .selectFrom('execution_traces')
      .select(['skill_name', 'total_duration_ms'])
      .where(sql<boolean>`skill_name = any(${having})`)
      .where('status', '=', 'timeout')
      .where('total_duration_ms', 'is not', null)
      .where(ranges('started_at'))
      .execute()
    for (const { skill_name: skill, total_duration_ms: ms } of timedOut)
      bySkill.get(skill)?.sketch.remove(Number(ms))
  }
  return new Map([...bySkill].map(([skill, { sketch }]) => [skill, sketch]))
}
