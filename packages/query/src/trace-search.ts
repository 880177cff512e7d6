import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { Direction, Position } from './cursor.ts'
import { monthSlices } from './month-slices.ts'
import { type SelectedSummary, SUMMARY_COLUMNS, type Tables } from './tables.ts'
import { conditionsOf, type Filters, type TraceConditions } from './trace-conditions.ts'

/** A row of a list, with its place in it. */
export type FoundRow = SelectedSummary & { started_us: string }

/** What to find: the traces that match, from a place on (itself not among them) or from the end of the list. */
export interface Search {
  /** The table, with its schema. */
  table: string
  filters: Omit<Filters, 'cursor' | 'limit'>
  from?: Position | undefined
  direction: Direction
  /** Rows at most. */
  count: number
}

/** Traces that are looked at before anything else is thought of: what is common is found among them, within milliseconds. */
const LOOK_FIRST = 2_000
const LOOK_GROWTH = 8
/** Where more are to be looked at than this, an index that finds what is rare costs less. */
const LOOK_ON_MAX = 20_000

/**
 * The first traces of a list, in its order. Traces are looked at in the order of time, as an index gives them, until there are
 * enough: what is common is found at once. Where few match, and there is an index that finds those few, it is asked instead, month
 * by month. Which of the two is cheaper is told by the share that matched so far: of metadata, and of filters that depend on each
 * other, the planner knows too little (docs/adr/0009-search.md). One snapshot.
 */
export async function searchTraces(db: Kysely<Tables>, search: Search): Promise<FoundRow[]> {
  const conditions = conditionsOf(search.filters)
  if (conditions.rest.length === 0) return select(db, inTime(conditions, search, search.count), search)
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute((trx) => lookThrough(trx, conditions, search))
}

async function lookThrough(
  trx: Transaction<Tables>,
  conditions: TraceConditions,
  search: Search,
): Promise<FoundRow[]> {
  const found: FoundRow[] = []
  const rest = { ...search }
  for (let look = LOOK_FIRST, looked = 0; ; look *= LOOK_GROWTH) {
    const candidates = inTime(conditions, rest, look)
    const rows = await select(trx, candidates, rest, conditions.rest)
    found.push(...rows)
    if (rows.length === rest.count) return found
    const [last] = await select(trx, sql`${candidates} offset ${look - 1}`, rest)
    // There were not so many.
    if (last === undefined) return found
    looked += look
    rest.from = { startedUs: last.started_us, traceId: last.trace_id }
    rest.count -= rows.length
    const toLookAt = (rest.count * looked) / Math.max(found.length, 0.5)
    if (conditions.hasIndexedRest && toLookAt > LOOK_ON_MAX) break
  }
  return [...found, ...(await pickOut(trx, conditions, rest))]
}

/** Those that match of one month after the other, as indexes find them, until there are enough. */
async function pickOut(
  trx: Transaction<Tables>,
  { inOrder, statuses, rest }: TraceConditions,
  search: Search,
): Promise<FoundRow[]> {
  const { filters, direction, count } = search
  // Few rows match, whatever the planner believes: what is left to it are the bitmaps that one or several indexes make.
  await sql`select ${sql.join(ONLY_BITMAPS.map(([name, value]) => sql`set_config(${name}, ${value}, true)`))}`.execute(
    trx,
  )
  const status = statuses === undefined ? [] : [sql<boolean>`status = any(${statuses})`]
  const months = await monthSlices(trx, search.table, filters)
  const found: FoundRow[] = []
  for (const { fromMs, toMs } of direction === 'older' ? months.reverse() : months) {
    const month = sql<boolean>`started_at >= ${new Date(fromMs)} and started_at < ${new Date(toMs)}`
    // The offset keeps the limit outside from making the planner look in the order of time.
    const matching = sql`
      select * from ${sql.table(search.table)} where ${allOf([...inOrder, ...status, ...rest, ...boundsOf(search), month])} offset 0`
    found.push(...(await select(trx, matching, { direction, count: count - found.length })))
    if (found.length === count) break
  }
  return found
}

const ONLY_BITMAPS = [
  ['enable_seqscan', 'off'],
  ['enable_indexscan', 'off'],
  ['max_parallel_workers_per_gather', '0'],
  ['jit', 'off'],
]

/** The first traces that fulfil the conditions for which there are indexes by time. */
function inTime({ inOrder, statuses }: TraceConditions, search: Search, count: number): RawBuilder<unknown> {
  const list = sql`${orderOf(search.direction)} limit ${count}`
  // One by one each status has an index in the order of time; several at once would have to be sorted, all of them.
  const each = (statuses ?? [undefined]).map((status) => {
    const conditions = [...inOrder, ...boundsOf(search)]
    if (status !== undefined) conditions.push(sql`status = ${status}`)
    return sql`(select * from ${sql.table(search.table)} where ${allOf(conditions)} ${list})`
  })
  return sql`select * from (${sql.join(each, sql` union all `)}) as found ${list}`
}

function boundsOf({ filters, from, direction }: Search): RawBuilder<boolean>[] {
  const bounds: RawBuilder<boolean>[] = []
  if (filters.since !== undefined) bounds.push(sql`started_at >= ${filters.since}`)
  if (filters.until !== undefined) bounds.push(sql`started_at <= ${filters.until}`)
  if (from === undefined) return bounds
  const startedAt = timeOf(from.startedUs)
  const [before, upTo] = direction === 'older' ? [sql`<`, sql`<=`] : [sql`>`, sql`>=`]
  // The second says nothing new, but only by a single column partitions are left out.
  bounds.push(sql`(started_at, trace_id) ${before} (${startedAt}, ${from.traceId}::uuid)`)
  bounds.push(sql`started_at ${upTo} ${startedAt}`)
  return bounds
}

/** Summaries of those of the traces that fulfil the conditions, the first ones. */
async function select(
  db: Kysely<Tables>,
  traces: RawBuilder<unknown>,
  { direction, count }: Pick<Search, 'direction' | 'count'>,
  conditions: readonly RawBuilder<boolean>[] = [],
): Promise<FoundRow[]> {
  const { rows } = await sql<FoundRow>`
    select ${sql.join(FOUND_COLUMNS)} from (${traces}) as t where ${allOf(conditions)} ${orderOf(direction)} limit ${count}`.execute(
    db,
  )
  return rows
}

/** What a row of a list is made of. */
export const FOUND_COLUMNS = [
  ...SUMMARY_COLUMNS.map((column) => (typeof column === 'string' ? sql.ref(column) : column)),
  sql`(extract(epoch from started_at) * 1000000)::bigint::text`.as('started_us'),
]

/** A time of so many microseconds since 1970. */
export const timeOf = (us: string): RawBuilder<Date> =>
  sql`(timestamptz 'epoch' + ${us}::bigint * interval '1 microsecond')`

const orderOf = (direction: Direction): RawBuilder<unknown> =>
  direction === 'older' ? sql`order by started_at desc, trace_id desc` : sql`order by started_at, trace_id`

const allOf = (conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> =>
  conditions.length === 0 ? sql`true` : sql`${sql.join(conditions, sql` and `)}`
