import { addOverview, addTotal, type RunRollup } from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { OverviewPart } from './overview-cover.ts'
import { bytesOf, partOf, partsTable, startedMs } from './rollup-parts.ts'
import type { Tables } from './tables.ts'

/** What overviews are added to. */
export interface OverviewTargets {
  /** What those of a skill are added to; undefined: passed over. */
  ofSkill(skill: string): RunRollup | undefined
  /** What all that started at a time are added to besides. */
  ofTime: ((startedMs: number) => RunRollup) | undefined
  /** Whether all skills are wanted, so that their sum can be taken, where it is there. */
  areAll: boolean
}

/** Adds the overviews of these parts. */
export async function addOverviews(
  trx: Kysely<Tables>,
  parts: readonly OverviewPart[],
  { ofSkill, ofTime, areAll }: OverviewTargets,
): Promise<void> {
  for (const row of await readOverviews(trx, parts, areAll)) {
    const part = parts[Number(row.part) - 1] as OverviewPart
    const all = part.isByTime ? ofTime?.(Number(row.started_ms)) : undefined
    if (row.total !== null && all !== undefined) addTotal(row.total, all)
    const rest = row.total === null ? all : undefined
    const skills = row.runs ?? (row.skills && bytesOf(row.skills))
    if (skills === null) continue
    if (part.isBySkill) addOverview(skills, ofSkill, rest)
    else addOverview(skills, () => rest)
  }
}

interface OverviewRow {
  /** From 1 on. */
  part: string
  runs: string | null
  skills: Uint8Array | null
  total: string | null
  started_ms: string
}

async function readOverviews(
  trx: Kysely<Tables>,
  parts: readonly OverviewPart[],
  areAll: boolean,
): Promise<OverviewRow[]> {
  if (parts.length === 0) return []
  const table = trx
    .selectFrom('execution_rollup_overviews as r')
    .select(['r.bucket', 'r.runs', 'r.skills', 'r.total'])
    .where(partOf('r'))
    // Else the planner may join the other way round, and read all that there is.
    .modifyEnd(sql`offset 0`)
  const flags = (of: (part: OverviewPart) => boolean): RawBuilder<unknown> =>
    sql`(${parts.map(of)}::boolean[])[part.number]`
  const hasSkills = sql`(${flags(({ isBySkill }) => isBySkill)} or r.total is null)`
  const { rows } = await sql<OverviewRow>`
    select part.number as part, ${startedMs} as started_ms,
           case when ${hasSkills} then r.runs end as runs, case when ${hasSkills} and r.runs is null then r.skills end as skills,
           case when ${flags(({ isByTime }) => isByTime && areAll)} then r.total end as total
      from ${partsTable(parts)} cross join lateral ${table} as r`.execute(trx)
  return rows
}
