import type { TraceStatus } from '@stepwell/protocol'
import {
  addOverview,
  type CountedTrace,
  parseRanges,
  type Rollup,
  type RunRollup,
} from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { type Cover, coverOf, type RollupExtent, type Span, type Width } from './rollup-cover.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** Which traces are added up. */
export interface RollupRequest {
  window: Span
  /** One skill; undefined: all. */
  skill: string | undefined
  /** Minutes of the widest rollups that can be used. */
  widest: Width
}

/** Traces that are read at once: a cursor, which bounds memory for more, takes three statements. */
const FEW = 500
/** Rows of traces that memory holds at once. */
const BATCH = 2_000
/** Spans of traces that one statement reads. */
const SPANS_MAX = 100

/**
 * Adds up what the traces of the window came to: rollups where they are what the traces are, else the traces, all from one snapshot.
 * So it is exactly what is stored, whether rollups are kept up or not. `rollupOf` gives what the traces of a skill are
 * to be added to, and `allOf` what those that started at a time are to be added to besides.
 */
export async function addUpRuns(
  db: Kysely<Tables>,
  request: RollupRequest,
  rollupOf: (skill: string) => RunRollup,
  allOf: (startedMs: number) => RunRollup | undefined = () => undefined,
): Promise<void> {
  const { skill } = request
  await inSnapshot(db, async (trx, extent) => {
    // Of all skills together there are minutes from the beginning.
    const widest = skill === undefined ? request.widest : widestOfSkill(request.widest)
    const cover = coverOf(request.window, { ...extent, minutesFrom: extent.rolledFrom }, widest)
    const together = skill === undefined ? cover.rollups : cover.rollups.filter(({ width }) => width === 1)
    for (const row of await readOverviews(trx, together)) {
      const ms = Number(row.started_ms)
      addOverview(
        bytesOf(row.skills),
        (name) => (skill === undefined || name === skill ? rollupOf(name) : undefined),
        allOf(ms),
      )
    }
    if (skill !== undefined) {
      const apart = cover.rollups.filter(({ width }) => width > 1)
      for (const row of await readSkillRollups(trx, apart, skill, false)) {
        const ms = Number(row.started_ms)
        for (const runs of [rollupOf(skill), allOf(ms)]) if (runs !== undefined) addStored(runs, row)
      }
    }
    await eachTrace(trx, request, cover.traces, false, (name, ms, { status, durationMs }) => {
      rollupOf(name).add(status, durationMs)
      allOf(ms)?.add(status, durationMs)
    })
  })
}

/** The same of one skill, with its steps. */
export async function addUpSteps(
  db: Kysely<Tables>,
  request: RollupRequest & { skill: string },
  targetOf: (startedMs: number) => Rollup,
): Promise<void> {
  await inSnapshot(db, async (trx, extent) => {
    const cover = coverOf(request.window, extent, widestOfSkill(request.widest))
    for (const row of await readSkillRollups(trx, cover.rollups, request.skill, true)) {
      const rollup = targetOf(Number(row.started_ms))
      addStored(rollup.runs, row)
      rollup.addEncodedSteps(bytesOf(row.steps as Uint8Array))
    }
    await eachTrace(trx, request, cover.traces, true, (_, startedMs, trace) => {
      targetOf(startedMs).add(trace)
    })
  })
}

const widestOfSkill = (widest: Width): Width => (widest > 1_440 ? 1_440 : widest)

/** Reads in one snapshot, given of what there are rollups in it. */
export function inSnapshot<T>(
  db: Kysely<Tables>,
  read: (trx: Transaction<Tables>, extent: RollupExtent) => Promise<T>,
): Promise<T> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => read(trx, await readExtent(trx)))
}

/** Of what there are rollups, as this snapshot has it. */
export async function readExtent(trx: Kysely<Tables>): Promise<RollupExtent> {
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
    .executeTakeFirstOrThrow()
  return {
    rolledFrom: Number(row.rolledFrom),
    minutesFrom: Number(row.minutesFrom),
    hoursUntil: Number(row.hoursUntil),
    daysUntil: Number(row.daysUntil),
    marked: parseRanges(row.marked ?? '{}'),
  }
}

/** Width and bounds of each part, as a table. */
export function partsTable(parts: Cover['rollups']): RawBuilder<unknown> {
  const time = (minute: number): string => new Date(minute * 60_000).toISOString()
  return sql`unnest(${parts.map(({ width }) => width * 60)}::integer[],
                    ${parts.map(({ range }) => time(range[0]))}::timestamptz[],
                    ${parts.map(({ range }) => time(range[1]))}::timestamptz[]) as part(width_s, from_time, to_time)`
}

const startedMs = millisecondsOf(sql`r.bucket`)

async function readOverviews(
  trx: Transaction<Tables>,
  parts: Cover['rollups'],
): Promise<{ skills: Uint8Array; started_ms: string }[]> {
  if (parts.length === 0) return []
  const table = trx
    .selectFrom('execution_rollup_overviews as r')
    .select(['r.bucket', 'r.skills'])
    .where(partOf('r'))
    // Else the planner may join the other way round, and read all that there is.
    .modifyEnd(sql`offset 0`)
  const { rows } = await sql<{ skills: Uint8Array; started_ms: string }>`
    select r.skills, ${startedMs} as started_ms from ${partsTable(parts)} cross join lateral ${table} as r`.execute(
    trx,
  )
  return rows
}

/** That a rollup belongs to a row of `partsTable`. */
export const partOf = (table: string): RawBuilder<boolean> =>
  sql<boolean>`${sql.ref(`${table}.width_s`)} = part.width_s
    and ${sql.ref(`${table}.bucket`)} >= part.from_time and ${sql.ref(`${table}.bucket`)} < part.to_time`

interface StoredRollup extends Record<TraceStatus, string> {
  duration_sum_ms: number
  duration_max_ms: number
  durations: Uint8Array
  steps: Uint8Array | null
  started_ms: string
}

async function readSkillRollups(
  trx: Transaction<Tables>,
  parts: Cover['rollups'],
  skill: string,
  hasSteps: boolean,
): Promise<StoredRollup[]> {
  if (parts.length === 0) return []
  const table = trx
    .selectFrom('execution_rollups as r')
    .selectAll()
    .where('r.skill_name', '=', skill)
    .where(partOf('r'))
    .modifyEnd(sql`offset 0`)
  const { rows } = await sql<StoredRollup>`
    select r.running, r.success, r.failed, r.timeout, r.duration_sum_ms, r.duration_max_ms, r.durations,
           ${hasSteps ? sql`r.steps` : sql`null`} as steps, ${startedMs} as started_ms
      from ${partsTable(parts)} cross join lateral ${table} as r`.execute(trx)
  return rows
}

const addStored = (runs: RunRollup, row: StoredRollup): void =>
  runs.addStored({ ...row, durations: bytesOf(row.durations) })

/** A lent pool may leave bytea as the text that Postgres sends. */
export const bytesOf = (value: Uint8Array | string): Uint8Array =>
  typeof value === 'string' ? Buffer.from(value.slice(2), 'hex') : value

async function eachTrace(
  trx: Transaction<Tables>,
  { skill }: RollupRequest,
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
    const few = await sql<TraceRow>`${traces} limit ${FEW + 1}`.execute(trx)
    if (few.rows.length <= FEW) {
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
