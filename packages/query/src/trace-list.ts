import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Direction, Position } from './cursor.ts'
import { type SelectedSummary, SUMMARY_COLUMNS, type Tables } from './tables.ts'
import type { Filters, TraceConditions } from './trace-conditions.ts'

/** A row of a list, with its place in it. */
export type FoundRow = SelectedSummary & { started_us: string; error_signature: string | null }

/** What to find: the traces that match, from a place on (itself not among them) or from the end of the list. */
export interface Search {
  /** The table of traces, with its schema. */
  table: string
  /** That of failure signatures. */
  signatures: string
  filters: Omit<Filters, 'cursor' | 'limit'>
  from?: Position | undefined
  direction: Direction
  /** Rows at most. */
  count: number
}

const microsecondsOf = (time: RawBuilder<unknown>): RawBuilder<string> =>
  sql<string>`(extract(epoch from ${time}) * 1000000)::bigint::text`
const STARTED_US = microsecondsOf(sql.ref('started_at')).as('started_us')

/** What a row of a list is made of. */
export const FOUND_COLUMNS = [
  ...SUMMARY_COLUMNS.map((column) => (typeof column === 'string' ? sql.ref(column) : column)),
  STARTED_US,
  sql.ref('error_signature'),
]

/** Summaries of those of the traces that fulfil the conditions, the first ones, in order. */
export const listOf = (
  traces: RawBuilder<unknown>,
  { direction, count }: Pick<Search, 'direction' | 'count'>,
  conditions: readonly RawBuilder<boolean>[] = [],
): RawBuilder<FoundRow> => sql`
    select ${sql.join(FOUND_COLUMNS)} from (${traces}) as t where ${allOf(conditions)} ${orderOf(direction)} limit ${count}`

/** What came of looking at traces in the order of time. */
export interface Look {
  /** Those that fulfil the conditions; not more than the search wants. */
  rows: FoundRow[]
  /** The place of the first that was looked at; undefined where there are none, or it is not told. */
  first: Position | undefined
  /** The place of the last that was looked at; undefined where there were not so many, or fewer were enough. */
  last: Position | undefined
}

/** Looks at so many of the traces, which are in the order of the search, until enough fulfil the conditions. */
export async function lookAt(
  db: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  look: number,
  checks: readonly RawBuilder<boolean>[],
): Promise<Look> {
  const { direction, count } = search
  const traces = inTime(conditions, search, look)
  const fulfils = allOf(checks)
  // The first and the last come too, whatever they are: to ask for their places by themselves would be to look again.
  const { rows } = await sql<FoundRow & { nth: string; fulfils: boolean | null }>`
    select ${sql.join(FOUND_COLUMNS)}, nth, ${fulfils} as fulfils
      from (select *, row_number() over (${orderOf(direction)}) as nth from (${traces}) as t) as t
     where (${fulfils}) or nth = 1 or nth = ${look} ${orderOf(direction)} limit ${count + 1}`.execute(db)
  const placeOf = (n: number): Position | undefined => {
    const row = rows.find(({ nth }) => Number(nth) === n)
    return row && { startedUs: row.started_us, traceId: row.trace_id }
  }
  return {
    rows: rows.filter((row) => row.fulfils).slice(0, count),
    first: placeOf(1),
    last: placeOf(look),
  }
}

/**
 * The same without a number for each, which the rows would have to be kept for, and in the order of time alone, as indexes have them: a third less for
 * thousands. What started at the very time of the last is looked at too.
 */
export async function lookOn(
  db: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  look: number,
  checks: readonly RawBuilder<boolean>[],
): Promise<Look> {
  const order = search.direction === 'older' ? sql`order by started_at desc` : sql`order by started_at`
  const traces = eachInTime(conditions, search, sql`${order} fetch first ${look} rows with ties`)
  const { rows } = await listOf(traces, search, checks).execute(db)
  if (rows.length >= search.count) return { rows, first: undefined, last: undefined }
  const place = await sql<{ started_us: string }>`
    select ${STARTED_US} from (${traces}) as t ${order} offset ${look - 1} limit 1`.execute(db)
  const startedUs = place.rows[0]?.started_us
  const traceId = search.direction === 'older' ? LEAST_ID : GREATEST_ID
  return { rows, first: undefined, last: startedUs === undefined ? undefined : { startedUs, traceId } }
}

/**
 * The same where the index that gives the order tells which may fulfil the conditions: only those are looked at. It is read by itself, at 0.15 µs a trace where one that lies
 * by itself takes 3 to 10. What it has not is the id: traces are found by their time again, all that started then at once.
 */
export async function lookAtTold(
  db: Kysely<Tables>,
  conditions: TraceConditions,
  told: RawBuilder<boolean>,
  search: Search,
  look: number,
): Promise<Look> {
  const order = search.direction === 'older' ? sql`desc` : sql``
  const list = sql`order by started_at ${order} fetch first ${look} rows with ties`
  const traces = eachInTime(conditions, search, list, {
    columns: sql`started_at, metadata_bits, version`,
    from: beyondInTime(search),
  })
  const status = conditions.statuses?.map((status) => sql<boolean>`status = ${status}`) ?? []
  const checks = conditions.rest.map(({ check }) => check)
  const all = allOf([...conditions.inOrder, ...status, ...windowOf(search), ...beyond(search), ...checks])
  // Not sorted: as soon as there are enough, it is over.
  const { rows } = await sql<FoundRow>`
    select ${sql.join(FOUND_COLUMNS)}
      from (select distinct started_at as at from (${traces}) as t where ${told} order by started_at ${order}) as told
     cross join lateral (select * from ${sql.table(search.table)} where started_at = told.at and ${all} offset 0) as t
     order by at ${order}, trace_id ${order} limit ${search.count}`.execute(db)
  if (rows.length >= search.count) return { rows, first: undefined, last: undefined }
  const places = await sql<{ first: string | null; last: string | null; looked: string }>`
    select ${microsecondsOf(sql`min(started_at)`)} as first, ${microsecondsOf(sql`max(started_at)`)} as last, count(*) as looked
      from (${traces}) as t`.execute(db)
  const { first, last, looked } = places.rows[0] as (typeof places.rows)[number]
  const [nearest, farthest] = search.direction === 'older' ? [last, first] : [first, last]
  const placeOf = (us: string | null, isEnd: boolean): Position | undefined =>
    us === null || !isEnd
      ? undefined
      : { startedUs: us, traceId: search.direction === 'older' ? LEAST_ID : GREATEST_ID }
  return { rows, first: placeOf(nearest, true), last: placeOf(farthest, Number(looked) >= look) }
}

const LEAST_ID = '00000000-0000-0000-0000-000000000000'
const GREATEST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/** The first traces that fulfil the conditions for which there are indexes by time; null: all of them. */
export const inTime = (
  conditions: TraceConditions,
  search: Search,
  count: number | null,
): RawBuilder<unknown> => eachInTime(conditions, search, sql`${orderOf(search.direction)} limit ${count}`)

function eachInTime(
  { inOrder, statuses }: TraceConditions,
  search: Search,
  list: RawBuilder<unknown>,
  { columns, from } = { columns: sql`*`, from: beyond(search) },
): RawBuilder<unknown> {
  // One by one each status has an index in the order of time; several at once would have to be sorted, all of them.
  const each = (statuses ?? [undefined]).map((status) => {
    const conditions = [...inOrder, ...windowOf(search), ...from]
    if (status !== undefined) conditions.push(sql`status = ${status}`)
    return sql`(select ${columns} from ${sql.table(search.table)} where ${allOf(conditions)} ${list})`
  })
  return sql`select * from (${sql.join(each, sql` union all `)}) as found ${list}`
}

/** What lies in the window of time that is asked for. */
export function windowOf({ filters: { since, until } }: Search): RawBuilder<boolean>[] {
  const bounds: RawBuilder<boolean>[] = []
  if (since !== undefined) bounds.push(sql`started_at >= ${since}`)
  if (until !== undefined) bounds.push(sql`started_at <= ${until}`)
  return bounds
}

/** What lies beyond the place that a search goes on from. */
export function beyond({ from, direction }: Search): RawBuilder<boolean>[] {
  if (from === undefined) return []
  const startedAt = timeOf(from.startedUs)
  const [before, upTo] = direction === 'older' ? [sql`<`, sql`<=`] : [sql`>`, sql`>=`]
  return [
    sql`(started_at, trace_id) ${before} (${startedAt}, ${from.traceId}::uuid)`,
    // Says nothing new, but only by a single column partitions are left out.
    sql`started_at ${upTo} ${startedAt}`,
  ]
}

/** The same by time alone; of those that started at that very time all, unless it is known that none is left. */
function beyondInTime({ from, direction }: Search): RawBuilder<boolean>[] {
  if (from === undefined) return []
  const [before, upTo] = direction === 'older' ? [sql`<`, sql`<=`] : [sql`>`, sql`>=`]
  const isOver = from.traceId === (direction === 'older' ? LEAST_ID : GREATEST_ID)
  return [sql`started_at ${isOver ? before : upTo} ${timeOf(from.startedUs)}`]
}

/** A time of so many microseconds since 1970, 15 or 16 digits, as a constant: by a time that is yet to be worked out no month is left out of the plan. */
export function timeOf(us: string): RawBuilder<Date> {
  const toSeconds = new Date(Number(us.slice(0, -3))).toISOString().slice(0, -4)
  return sql`${`${toSeconds}${us.slice(-6)}Z`}::timestamptz`
}

const orderOf = (direction: Direction): RawBuilder<unknown> =>
  direction === 'older' ? sql`order by started_at desc, trace_id desc` : sql`order by started_at, trace_id`

/** All of the conditions at once. */
export const allOf = (conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> =>
  conditions.length === 0 ? sql`true` : sql`${sql.join(conditions, sql` and `)}`
