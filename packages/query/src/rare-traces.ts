import { monthBounds, monthOf } from '@stepwell/protocol'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { monthSlices, type Slice } from './month-slices.ts'
import type { Tables } from './tables.ts'
import type { TraceConditions } from './trace-conditions.ts'
import { allOf, beyond, type FoundRow, listOf, type Search, windowOf } from './trace-list.ts'

/** Most rows that are fetched at once: of a slice with more, a part is asked for. */
const FETCH_MAX = 3_000
/** To fetch so many takes 2 ms. */
const FEW = 500
const WIDTH_MIN_MS = 1_000
/** Of the first slice, of which little is known: to tell the pages of 100,000 traces takes 1.4 ms. */
const WIDTH_FIRST_MAX_MS = 86_400_000
/** How many times as wide, or narrow, as the one before a slice is at most. */
const CHANGE_MAX = 16
/** So often more may be found than are fetched, and so many be fetched in all, before it is not rare. */
const CROWDS_MAX = 2
const FETCHED_MAX = 2 * FETCH_MAX
/** To read an entry of the index that gives the order, as one of those to be found, takes a 25th of what it takes to fetch a trace. */
const TOGETHER_MAX = 20

// Few rows match, whatever the planner believes. So what is left to it are bitmaps, which one or several indexes make; exact ones, as
// those of millions of traces are not by default. The BRIN index of times tells pages: it MUST come last, or all traces of these pages are looked at, 11,000
// for 1,000. Bitmaps are combined in the order of their costs: so it is the dear one, and what is found by others is cheap.
const SETTINGS = {
  enable_seqscan: 'off',
  enable_indexscan: 'off',
  enable_bitmapscan: 'on',
  enable_sort: 'on',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  work_mem: '64MB',
  random_page_cost: '1',
  cpu_index_tuple_cost: '0.0001',
  cpu_operator_cost: '0.01',
}

/**
 * The first traces that match, where few do: all of one slice of time after the other, as indexes find them, until there are enough.
 * By what the one before held, about twice as many match in a slice as are wanted; what may be had at once is. In `widthMs` are about enough. `foundPerMs`: that which the rare
 * condition alone finds, where it is known.
 * What is rare is found by itself, and the other conditions are looked at then: of a common skill, to find all traces takes longer than
 * anything else. Only where these are not that many more, `inOrderPerMs`, the indexes of both find a slice; and where what is rare turns out not to be rare,
 * what is left of a month is found by all indexes together.
 */
export async function pickOut(
  trx: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  widthMs: number,
  inOrderPerMs: number,
  foundPerMs?: number | undefined,
): Promise<FoundRow[]> {
  const isOfAll = conditions.inOrder.length === 0 && conditions.statuses === undefined
  const found: FoundRow[] = []
  let left = spanOf(await monthSlices(trx, search.table, SETTINGS), search)
  let width = foundPerMs === undefined ? Math.min(widthMs, WIDTH_FIRST_MAX_MS) : 2 * widthMs
  let fetchedPerMs = foundPerMs
  let crowds = 0
  let fetchedInAll = 0
  while (left !== undefined && found.length < search.count) {
    const rest = { ...search, count: search.count - found.length }
    if (crowds === CROWDS_MAX || fetchedInAll > FETCHED_MAX) {
      const slice = monthAtBegin(left, search)
      found.push(...(await fetchTogether(trx, conditions, rest, slice)))
      left = without(left, slice)
      continue
    }
    const whole: Slice | undefined = [left, monthAtBegin(left, search)].find((span) => {
      const fetched = (fetchedPerMs ?? Infinity) * lengthOf(wholeMonths(span))
      return fetched <= FEW || (fetched <= 0.75 * FETCH_MAX && 4 * width >= lengthOf(span))
    })
    const slice = whole ?? beginOf(left, Math.max(WIDTH_MIN_MS, Math.ceil(width)), search)
    const isTogether = !isOfAll && inOrderPerMs < TOGETHER_MAX * (fetchedPerMs ?? 0)
    const { rows, fetched } = await fetchSlice(trx, conditions, rest, slice, whole !== undefined, isTogether)
    fetchedInAll += fetched
    if (fetched > FETCH_MAX) {
      crowds += 1
      fetchedPerMs = undefined
      width = lengthOf(slice) / CHANGE_MAX
      continue
    }
    found.push(...rows)
    left = without(left, slice)
    if (!isTogether)
      fetchedPerMs = Math.max(1, fetched) / lengthOf(whole === undefined ? slice : wholeMonths(slice))
    const change = Math.min(
      (2 * (search.count - found.length)) / Math.max(1, rows.length),
      FETCH_MAX / 2 / Math.max(1, fetched),
    )
    width = lengthOf(slice) * Math.min(CHANGE_MAX, Math.max(1 / CHANGE_MAX, change))
  }
  return found
}

/** What is to be searched, as far as there are months; undefined: nothing. */
export function spanOf(months: readonly Slice[], { filters, from, direction }: Search): Slice | undefined {
  const [first, last] = [months.at(0), months.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const fromMs = from && Number(from.startedUs) / 1_000
  const upToMs = Math.min(filters.until?.getTime() ?? Infinity, (direction === 'older' && fromMs) || Infinity)
  const sinceMs = Math.max(filters.since?.getTime() ?? 0, (direction === 'newer' && fromMs) || 0)
  return some({
    fromMs: Math.max(first.fromMs, Math.floor(sinceMs)),
    toMs: Math.min(last.toMs, Math.floor(upToMs) + 1),
  })
}

const some = (slice: Slice): Slice | undefined => (slice.fromMs < slice.toMs ? slice : undefined)

export const lengthOf = ({ fromMs, toMs }: Slice): number => toMs - fromMs

/** What is left of a span when a slice at its begin is taken away, whichever end that is. */
export function without(span: Slice, slice: Slice): Slice | undefined {
  return some(
    slice.fromMs <= span.fromMs
      ? { fromMs: slice.toMs, toMs: span.toMs }
      : { fromMs: span.fromMs, toMs: slice.fromMs },
  )
}

export function beginOf({ fromMs, toMs }: Slice, widthMs: number, { direction }: Search): Slice {
  return direction === 'older'
    ? { fromMs: Math.max(fromMs, toMs - widthMs), toMs }
    : { fromMs, toMs: Math.min(toMs, fromMs + widthMs) }
}

/** What lies in the month in which a span begins. */
function monthAtBegin({ fromMs, toMs }: Slice, { direction }: Search): Slice {
  const month = monthBounds(monthOf(direction === 'older' ? toMs - 1 : fromMs))
  return { fromMs: Math.max(fromMs, month.fromMs), toMs: Math.min(toMs, month.toMs) }
}

/** All of the months that a span has a part in. */
const wholeMonths = ({ fromMs, toMs }: Slice): Slice => ({
  fromMs: monthBounds(monthOf(fromMs)).fromMs,
  toMs: monthBounds(monthOf(toMs - 1)).toMs,
})

/**
 * The first rows of a slice that match, and how many the rare condition alone has found; of more than FETCH_MAX, that there are more.
 * `inWholeMonths`: without a look at times, where few have it: to tell the pages of three weeks of two million traces takes as long as to read 3,000 traces.
 */
async function fetchSlice(
  trx: Kysely<Tables>,
  { inOrder, statuses, rest, withRest }: TraceConditions,
  search: Search,
  slice: Slice,
  inWholeMonths: boolean,
  isTogether: boolean,
): Promise<{ rows: FoundRow[]; fetched: number }> {
  const bounds = [...boundsOf(search), within(slice)]
  const others = [...inOrder, ...statusIn(statuses)]
  const find = [
    ...withRest,
    ...(isTogether ? others : []),
    ...findable(rest),
    ...(inWholeMonths ? [within(wholeMonths(slice))] : bounds),
  ]
  const check = [...others, ...rest.map((one) => one.check), ...bounds]
  // Cut before it is put in order, so that indexes by anything but time are of use.
  const { rows } = await sql<FoundRow & { fetched: number }>`
    with fetched as materialized (
         select * from ${sql.table(search.table)} where ${allOf(find)} limit ${FETCH_MAX + 1})
    select fetched, listed.* from (select count(*)::integer as fetched from fetched) as counted
      left join lateral (${listOf(sql`select * from fetched`, search, check)}) as listed on true`.execute(trx)
  return { rows: rows.filter((row) => row.trace_id !== null), fetched: Number(rows[0]?.fetched) }
}

/** The first rows of what is left of a month that match, found by all indexes but that of times: it tells pages, and makes what the others find less exact. */
async function fetchTogether(
  trx: Kysely<Tables>,
  { inOrder, statuses, rest }: TraceConditions,
  search: Search,
  left: Slice,
): Promise<FoundRow[]> {
  const find = allOf([...inOrder, ...statusIn(statuses), ...findable(rest), within(wholeMonths(left))])
  const matching = sql`select * from ${sql.table(search.table)} where ${find} offset 0`
  const check = [...rest.map((one) => one.check), ...boundsOf(search), within(left)]
  return (await listOf(matching, search, check).execute(trx)).rows
}

const findable = (rest: TraceConditions['rest']): RawBuilder<boolean>[] =>
  rest.flatMap(({ find }) => find ?? [])

/** One alone as the indexes by status have it. */
const statusIn = (statuses: TraceConditions['statuses']): RawBuilder<boolean>[] =>
  statuses === undefined
    ? []
    : [statuses.length === 1 ? sql`status = ${statuses[0]}` : sql`status = any(${statuses})`]

const boundsOf = (search: Search): RawBuilder<boolean>[] => [...windowOf(search), ...beyond(search)]

const within = ({ fromMs, toMs }: Slice): RawBuilder<boolean> =>
  sql`started_at >= ${new Date(fromMs)} and started_at < ${new Date(toMs)}`
