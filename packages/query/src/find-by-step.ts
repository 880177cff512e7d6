import { type Kysely, type RawBuilder, sql } from 'kysely'
import { monthSlices } from './month-slices.ts'
import { beginOf, lengthOf, spanOf, without } from './rare-traces.ts'
import { readExtent } from './read-rollups.ts'
import { type Place, stepPlaces } from './step-places.ts'
import type { Tables } from './tables.ts'
import type { TraceConditions } from './trace-conditions.ts'
import { type FoundRow, inTime, listOf, type Search } from './trace-list.ts'

const WIDTH_MIN_MS = 3_600_000
/** How many times as wide as the one before a slice is at most. */
const GROWTH_MAX = 16

// An index of rollups gives bitmaps only. Traces come in the order of time, never sorted: the planner takes matches for rarer than they are.
const SETTINGS = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'on',
  enable_sort: 'off',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
}

/**
 * The first traces with a step of this name, where few have it: slice after slice of time it looks only at runs of skills that have such a step in that
 * hour or on that day, as rollups know, and at all runs where they do not. In `widthMs` are about enough.
 */
export async function findByStep(
  stepName: string,
  trx: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  widthMs: number,
): Promise<FoundRow[]> {
  const found: FoundRow[] = []
  let left = spanOf(await monthSlices(trx, search.table, SETTINGS), search)
  const extent = await readExtent(trx)
  let width = widthMs
  while (left !== undefined && found.length < search.count) {
    const rest = { ...search, count: search.count - found.length }
    const request = { ...rest, stepName, skill: search.filters.skill }
    const slice = beginOf(left, Math.max(WIDTH_MIN_MS, Math.ceil(width)), search)
    const { places, window } = await stepPlaces(trx, extent, request, slice)
    const rows = await tracesAt(trx, conditions, rest, places)
    found.push(...rows)
    left = without(left, window)
    const lacking = search.count - found.length
    width = lengthOf(window) * Math.min(GROWTH_MAX, (2 * lacking) / Math.max(1, rows.length))
  }
  return found
}

/** The first of the traces at these places that match. */
async function tracesAt(
  trx: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  places: readonly Place[],
): Promise<FoundRow[]> {
  const checks = conditions.rest.map(({ check }) => check)
  // Of each place the first ones, each by an index.
  const at = (some: readonly Place[], more: readonly RawBuilder<boolean>[]): RawBuilder<unknown> => {
    const [from, to] = [some.map(({ fromMs }) => fromMs), some.map(({ toMs }) => toMs)]
    const inPlace = [
      ...more,
      sql<boolean>`started_at >= place.from_time and started_at < place.to_time`,
      // Only by constants months are left out of the plan.
      sql<boolean>`started_at >= ${new Date(Math.min(...from))} and started_at < ${new Date(Math.max(...to))}`,
    ]
    const inOrder = [...conditions.inOrder, ...inPlace, ...checks]
    const times = (list: number[]): RawBuilder<unknown> =>
      sql`${list.map((ms) => new Date(ms))}::timestamptz[]`
    return sql`
      select found.* from unnest(${times(from)}, ${times(to)}, ${some.map(({ skill }) => skill ?? null)}::text[]) as place(from_time, to_time, skill)
       cross join lateral (${inTime({ ...conditions, inOrder }, search, search.count)}) as found`
  }
  const ofSkills = places.filter(({ skill }) => skill !== undefined)
  const ofAll = places.filter(({ skill }) => skill === undefined)
  const parts = [
    ...(ofSkills.length === 0 ? [] : [at(ofSkills, [sql`skill_name = place.skill`])]),
    ...(ofAll.length === 0 ? [] : [at(ofAll, [])]),
  ]
  if (parts.length === 0) return []
  return (await listOf(sql.join(parts, sql` union all `), search).execute(trx)).rows
}
