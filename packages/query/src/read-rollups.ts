import type { StepTuple, TraceStatus } from '@stepwell/protocol'
import { ByteReader, type CountedTrace, parseRanges, type Rollup } from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { type Cover, coverOf, type RollupExtent, type Span, type Width } from './rollup-cover.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** What statistics are asked of. */
export interface RollupRequest {
  window: Span
  /** One skill; undefined: all. */
  skill: string | undefined
  hasSteps: boolean
  /** Minutes of the widest rollups that can be used. */
  widest: Width
}

/** Where the traces of a skill that started at a time are to be added: to each of these. */
export type TargetsOf = (skill: string, startedMs: number) => readonly Rollup[]

/** Rows of traces that memory holds at once. */
const BATCH = 2_000
/** Spans of traces that one statement reads. */
const SPANS_MAX = 100

/**
 * Adds up what the traces of the window came to: rollups where they are what the traces are, else the traces, all from one snapshot.
 * So it is exactly what is stored, whether rollups are kept up or not.
 */
export function readRollups(db: Kysely<Tables>, request: RollupRequest, targetsOf: TargetsOf): Promise<void> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const cover = coverOf(request.window, await readExtent(trx), request.widest)
      if (cover.rollups.length > 0) await addRollups(trx, request, cover.rollups, targetsOf)
      for (let i = 0; i < cover.traces.length; i += SPANS_MAX)
        await addTraces(trx, request, cover.traces.slice(i, i + SPANS_MAX), targetsOf)
    })
}

async function readExtent(trx: Transaction<Tables>): Promise<RollupExtent> {
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

const STATUSES = ['running', 'success', 'failed', 'timeout'] as const

async function addRollups(
  trx: Transaction<Tables>,
  { skill, hasSteps }: RollupRequest,
  parts: Cover['rollups'],
  targetsOf: TargetsOf,
): Promise<void> {
  const time = (minute: number): string => new Date(minute * 60_000).toISOString()
  const table = trx
    .selectFrom('execution_rollups as r')
    .selectAll()
    .whereRef('r.width_s', '=', sql.ref('part.width_s'))
    .whereRef('r.bucket', '>=', sql.ref('part.from_time'))
    .whereRef('r.bucket', '<', sql.ref('part.to_time'))
    // Else the planner may join the other way round, and read all that there is.
    .modifyEnd(sql`offset 0`)
  const { rows } = await sql<Record<TraceStatus, string> & StoredRollup>`
    select r.skill_name, ${sql.join(STATUSES.map((status) => sql.ref(`r.${status}`)))}, r.duration_sum_ms, r.duration_max_ms, r.durations,
           ${hasSteps ? sql`r.steps` : sql`null`} as steps, ${millisecondsOf(sql`r.bucket`)} as started_ms
      from unnest(${parts.map(({ width }) => width * 60)}::integer[],
                  ${parts.map(({ range }) => time(range[0]))}::timestamptz[],
                  ${parts.map(({ range }) => time(range[1]))}::timestamptz[]) as part(width_s, from_time, to_time)
     cross join lateral ${skill === undefined ? table : table.where('r.skill_name', '=', skill)} as r`.execute(
    trx,
  )
  for (const row of rows) {
    for (const rollup of targetsOf(row.skill_name, Number(row.started_ms))) addStored(rollup, row)
  }
}

interface StoredRollup {
  skill_name: string
  duration_sum_ms: number
  duration_max_ms: number
  durations: Uint8Array | string
  steps: Uint8Array | string | null
  started_ms: string
}

function addStored(rollup: Rollup, row: StoredRollup & Record<TraceStatus, string>): void {
  for (const status of STATUSES) rollup.counts[status] += Number(row[status])
  const { durations } = rollup
  durations.sumUs += Math.round(Number(row.duration_sum_ms) * 1_000)
  durations.maxUs = Math.max(durations.maxUs, Math.round(Number(row.duration_max_ms) * 1_000))
  durations.sketch.addEncoded(new ByteReader(bytesOf(row.durations)))
  if (row.steps !== null) rollup.addEncodedSteps(bytesOf(row.steps))
}

/** A lent pool may leave bytea as the text that Postgres sends. */
const bytesOf = (value: Uint8Array | string): Uint8Array =>
  typeof value === 'string' ? Buffer.from(value.slice(2), 'hex') : value

async function addTraces(
  trx: Transaction<Tables>,
  { skill, hasSteps }: RollupRequest,
  spans: readonly Span[],
  targetsOf: TargetsOf,
): Promise<void> {
  const parts = spans.map(({ fromMs, toMs }) => {
    const select = trx
      .selectFrom('execution_traces')
      .select([
        'skill_name',
        'status',
        'total_duration_ms',
        millisecondsOf(sql.ref('started_at')).as('started_ms'),
      ])
      .select(hasSteps ? sql`steps`.as('steps') : sql`'[]'::json`.as('steps'))
      .where('started_at', '>=', new Date(fromMs))
      .where('started_at', '<', new Date(toMs))
    return sql`${skill === undefined ? select : select.where('skill_name', '=', skill)}`
  })
  await sql`declare counted no scroll cursor for ${sql.join(parts, sql` union all `)}`.execute(trx)
  for (;;) {
    const { rows } = await sql<TraceRow>`fetch ${sql.lit(BATCH)} from counted`.execute(trx)
    for (const row of rows) {
      const counted = countedOf(row)
      for (const rollup of targetsOf(row.skill_name, Number(row.started_ms))) rollup.add(counted)
    }
    if (rows.length < BATCH) break
  }
  await sql`close counted`.execute(trx)
}

interface TraceRow {
  skill_name: string
  status: TraceStatus
  total_duration_ms: number | null
  started_ms: string
  steps: unknown
}

const countedOf = (row: TraceRow): CountedTrace => ({
  status: row.status,
  durationMs: row.total_duration_ms === null ? null : Number(row.total_duration_ms),
  steps: (typeof row.steps === 'string' ? JSON.parse(row.steps) : row.steps) as StepTuple[],
})
