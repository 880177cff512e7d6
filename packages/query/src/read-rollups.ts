import type { TraceStatus } from '@stepwell/protocol'
import {
  addParts,
  type CountedTrace,
  parseRanges,
  type Rollup,
  type RunRollup,
} from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type PartialHour, partialHours, withoutParts } from './hour-parts.ts'
import { coverOfAll } from './overview-cover.ts'
import { addOverviews } from './read-overviews.ts'
import { parseRemoved, type RemovedRuns, removedIn } from './removed-runs.ts'
import { type Cover, coverOf, type RollupExtent, type Span, type Width } from './rollup-cover.ts'
import { bytesOf, partOf, partsTable, startedMs } from './rollup-parts.ts'
import { inSnapshot } from './snapshot.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** Which traces are added up. */
export interface RollupRequest {
  window: Span
  /** One skill; undefined: all. */
  skill: string | undefined
  /** Minutes of the widest rollups that can be used. */
  widest: Width
}

/** Rows of traces that memory holds at once. More are read by a cursor, which takes three statements. */
const BATCH = 2_000
/** Spans of traces that one statement reads. */
const SPANS_MAX = 100

/**
 * Adds up what the traces of the window came to: rollups where they are what the traces are, else the traces, all from one snapshot.
 * So it is exactly what is stored, whether rollups are kept up or not. `rollupOf` gives what the traces of a skill are
 * to be added to, and `allOf` what those that started at a time are to be added to besides. Gives the months from which runs were removed.
 */
export async function addUpRuns(
  db: Kysely<Tables>,
  request: RollupRequest,
  rollupOf: (skill: string) => RunRollup,
  allOf?: (startedMs: number) => RunRollup,
): Promise<RemovedRuns[]> {
  const { skill } = request
  return withExtent(
    db,
    async (trx, extent) => {
      if (skill === undefined) await addUpAll(trx, extent, request, rollupOf, allOf)
      else await addUpSkill(trx, extent, { ...request, skill }, rollupOf, allOf)
      return extent.removed
    },
    request.window,
  )
}

async function addUpAll(
  trx: Kysely<Tables>,
  extent: RollupExtent,
  { window, widest }: RollupRequest,
  ofSkill: (skill: string) => RunRollup,
  ofTime: ((startedMs: number) => RunRollup) | undefined,
): Promise<void> {
  const { overviews, traces } = coverOfAll(window, extent, ofTime && widest)
  await addOverviews(trx, overviews, { ofSkill, ofTime, areAll: true })
  for (const isBySkill of [true, false]) {
    const spans = traces.filter((span) => span.isBySkill === isBySkill)
    await eachTrace(trx, undefined, spans, false, (skill, ms, { status, durationMs }) => {
      if (isBySkill) ofSkill(skill).add(status, durationMs)
      ofTime?.(ms).add(status, durationMs)
    })
  }
}

async function addUpSkill(
  trx: Kysely<Tables>,
  extent: RollupExtent,
  { skill, window, widest }: RollupRequest & { skill: string },
  ofSkill: (skill: string) => RunRollup,
  ofTime: ((startedMs: number) => RunRollup) | undefined,
): Promise<void> {
  // Minutes of one skill are kept for some days, those of all together for ever.
  const cover = coverOf(window, { ...extent, minutesFrom: extent.rolledFrom }, widestOfSkill(widest))
  const together = cover.rollups.filter(({ width }) => width === 1)
  const apart = cover.rollups.filter(({ width }) => width > 1)
  await addOverviews(
    trx,
    together.map((part) => ({ ...part, isBySkill: true, isByTime: true })),
    { ofSkill: (name) => (name === skill ? ofSkill(skill) : undefined), ofTime, areAll: false },
  )
  for (const row of await readSkillRollups(trx, apart, skill, false)) {
    addStored(ofSkill(skill), row)
    if (ofTime !== undefined) addStored(ofTime(Number(row.started_ms)), row)
  }
  await eachTrace(trx, skill, cover.traces, false, (_, ms, { status, durationMs }) => {
    ofSkill(skill).add(status, durationMs)
    ofTime?.(ms).add(status, durationMs)
  })
}

const widestOfSkill = (widest: Width): Width => (widest > 1_440 ? 1_440 : widest)

/** The same of one skill, with its steps. */
export async function addUpSteps(
  db: Kysely<Tables>,
  request: RollupRequest & { skill: string },
  targetOf: (startedMs: number) => Rollup,
): Promise<RemovedRuns[]> {
  const { skill, window } = request
  return withExtent(
    db,
    async (trx, extent) => {
      const cover = coverOf(window, extent, widestOfSkill(request.widest))
      // Of hours at the ends their quarters, where pieces are not smaller.
      const hours = request.widest < 60 ? [] : partialHours(cover.traces, extent)
      const taken: PartialHour[] = []
      for (const row of await readSkillRollups(trx, cover.rollups, skill, true, hours)) {
        const rollup = targetOf(Math.max(Number(row.started_ms), window.fromMs))
        const hour = hours[Number(row.part) - 1 - cover.rollups.length]
        if (hour === undefined) {
          addStored(rollup.runs, row)
          rollup.addEncodedSteps(bytesOf(row.steps as Uint8Array))
        } else if (row.parts !== null) {
          addParts(row.parts, (index) => (hour.parts.includes(index) ? rollup : undefined))
          taken.push(hour)
        }
      }
      await eachTrace(trx, skill, withoutParts(cover.traces, taken), true, (_, startedMs, trace) => {
        targetOf(startedMs).add(trace)
      })
      return extent.removed
    },
    window,
  )
}

/** Reads in one snapshot, given of what there are rollups in it, and from which months of the window runs were removed. */
export function withExtent<T>(
  db: Kysely<Tables>,
  read: (snapshot: Kysely<Tables>, extent: RollupExtent & { removed: RemovedRuns[] }) => Promise<T>,
  window?: Span,
): Promise<T> {
  return inSnapshot(db, {}, async (snapshot) => read(snapshot, await readExtent(snapshot, window)))
}

/** Of what there are rollups, as this snapshot has it. */
export async function readExtent(
  trx: Kysely<Tables>,
  window?: Span,
): Promise<RollupExtent & { removed: RemovedRuns[] }> {
  const minute = (column: string): RawBuilder<number> =>
    sql<number>`floor(extract(epoch from ${sql.ref(column)}) / 60)::integer`
  const row = await trx
    .selectFrom('execution_rollup_state')
    .select([
      minute('rolled_from').as('rolledFrom'),
      minute('minutes_from').as('minutesFrom'),
      minute('hours_until').as('hoursUntil'),
      minute('days_until').as('daysUntil'),
    ])
    .select((eb) =>
      eb
        .selectFrom('execution_rollup_marks')
        .select(sql<string | null>`range_agg(minutes)::text`.as('marked'))
        .as('marked'),
    )
    .select((eb) => (window === undefined ? sql<null>`null` : removedIn(eb, window)).as('removed'))
    .executeTakeFirstOrThrow()
  return {
    rolledFrom: Number(row.rolledFrom),
    minutesFrom: Number(row.minutesFrom),
    hoursUntil: Number(row.hoursUntil),
    daysUntil: Number(row.daysUntil),
    marked: parseRanges(row.marked ?? '{}'),
    removed: parseRemoved(row.removed),
  }
}

interface StoredRollup extends Record<TraceStatus, string> {
  duration_sum_ms: number
  duration_max_ms: number
  durations: Uint8Array
  steps: Uint8Array | null
  /** Of hours of which only parts are wanted. */
  parts: string | null
  /** From 1 on: which of the parts that were asked for, then which of the hours. */
  part: string
  started_ms: string
}

async function readSkillRollups(
  trx: Kysely<Tables>,
  parts: Cover['rollups'],
  skill: string,
  hasSteps: boolean,
  hours: readonly PartialHour[] = [],
): Promise<StoredRollup[]> {
  if (parts.length + hours.length === 0) return []
  const isWhole = sql`part.number <= ${parts.length}`
  const all = [
    ...parts,
    ...hours.map(({ hour }) => ({ width: 60 as const, range: [hour, hour + 60] as const })),
  ]
  const table = trx
    .selectFrom('execution_rollups as r')
    .selectAll()
    .where('r.skill_name', '=', skill)
    .where(partOf('r'))
    .modifyEnd(sql`offset 0`)
  const { rows } = await sql<StoredRollup>`
    select r.running, r.success, r.failed, r.timeout, r.duration_sum_ms, r.duration_max_ms, r.durations,
           ${hasSteps ? sql`case when ${isWhole} then r.steps end` : sql`null`} as steps,
           case when not ${isWhole} then r.parts end as parts, part.number as part, ${startedMs} as started_ms
      from ${partsTable(all)} cross join lateral ${table} as r`.execute(trx)
  return rows
}

const addStored = (runs: RunRollup, row: StoredRollup): void =>
  runs.addStored({ ...row, durations: bytesOf(row.durations) })

async function eachTrace(
  trx: Kysely<Tables>,
  skill: string | undefined,
  all: readonly Span[],
  hasSteps: boolean,
  visit: (skill: string, startedMs: number, trace: CountedTrace) => void,
): Promise<void> {
  for (let i = 0; i < all.length; i += SPANS_MAX) {
    const parts = all.slice(i, i + SPANS_MAX).map(({ fromMs, toMs }) => {
      const select = trx
        .selectFrom('execution_traces')
        .select(['skill_name', 'status', 'total_duration_ms'])
        .select(millisecondsOf(sql.ref('started_at')).as('started_ms'))
        .select(hasSteps ? sql`steps::text`.as('steps') : sql`'[]'`.as('steps'))
        .where('started_at', '>=', new Date(fromMs))
        .where('started_at', '<', new Date(toMs))
      return sql`${skill === undefined ? select : select.where('skill_name', '=', skill)}`
    })
    const traces = sql`${sql.join(parts, sql` union all `)}`
    const count = (rows: readonly TraceRow[]): void => {
      for (const row of rows) visit(row.skill_name, Number(row.started_ms), countedOf(row))
    }
    // Mostly the ends of a window, and the last minute.
    const few = await sql<TraceRow>`${traces} limit ${BATCH + 1}`.execute(trx)
    if (few.rows.length <= BATCH) {
      count(few.rows)
      continue
    }
    await sql`declare counted no scroll cursor for ${traces}`.execute(trx)
    for (;;) {
      const { rows } = await sql<TraceRow>`fetch ${sql.lit(BATCH)} from counted`.execute(trx)
      count(rows)
      if (rows.length < BATCH) break
    }
    await sql`close counted`.execute(trx)
  }
}

interface TraceRow {
  skill_name: string
  status: TraceStatus
  total_duration_ms: number | null
  started_ms: string
  steps: string
}

const countedOf = (row: TraceRow): CountedTrace => ({
  status: row.status,
  durationMs: row.total_duration_ms === null ? null : Number(row.total_duration_ms),
  steps: row.steps,
})
