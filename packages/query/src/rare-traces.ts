import { monthBounds, monthOf } from '@stepwell/protocol'
import { type RawBuilder, sql, type Transaction } from 'kysely'
import { monthSlices, type Slice } from './month-slices.ts'
import type { Tables } from './tables.ts'
import type { TraceConditions } from './trace-conditions.ts'
import { allOf, beyond, type FoundRow, listOf, type Search, selectRows, windowOf } from './trace-list.ts'

/** Most rows that are fetched at once: of a slice with more, a part is asked for. */
const FETCH_MAX = 2_000
const WIDTH_MIN_MS = 1_000
/** How many times as wide, or narrow, as the one before a slice is at most. */
const CHANGE_MAX = 16
/** So often more may be found than are fetched, and so many be fetched in all, before it is not rare. */
const CROWDS_MAX = 2
const FETCHED_MAX = 2 * FETCH_MAX

// Few rows match, whatever the planner believes. So what is left to it are bitmaps, which one or several indexes make; exact ones, as
// those of millions of traces are not by default.
const SETTINGS = {
  enable_seqscan: 'off',
  enable_indexscan: 'off',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  work_mem: '64MB',
}

/**
 * The first traces that match, where few do: all of one slice of time after the other, as indexes find them, until there are enough.
 * A slice lies in one month; by what the one before held, about twice as many match in it as are wanted. The first is `widthMs` wide.
 * What is rare is found by itself, and the other conditions are looked at then: of a common skill, to find all traces takes longer than
 * anything else. Only where it turns out not to be rare, what is left of a month is found by all indexes together.
 */
export async function pickOut(
  trx: Transaction<Tables>,
  conditions: TraceConditions,
  search: Search,
  widthMs: number,
): Promise<FoundRow[]> {
  await sql`select ${sql.join(
    Object.entries(SETTINGS).map(([name, value]) => sql`set_config(${name}, ${value}, true)`),
  )}`.execute(trx)
  const found: FoundRow[] = []
  let width = widthMs
  let crowds = 0
  let fetchedInAll = 0
  for (const month of await monthsOf(trx, search)) {
    let left: Slice | undefined = month
    while (left !== undefined) {
      const rest = { ...search, count: search.count - found.length }
      if (crowds === CROWDS_MAX || fetchedInAll > FETCHED_MAX) {
        found.push(...(await fetchTogether(trx, conditions, rest, left)))
        left = undefined
      } else {
        const slice = beginOf(left, Math.max(WIDTH_MIN_MS, Math.ceil(width)), search)
        const sliceMs = slice.toMs - slice.fromMs
        const { rows, fetched } = await fetchSlice(trx, conditions, rest, slice)
        fetchedInAll += fetched
        if (fetched > FETCH_MAX) {
          crowds += 1
          width = sliceMs / CHANGE_MAX
          continue
        }
        found.push(...rows)
        left = without(left, slice)
        const change = Math.min(
          (2 * rest.count) / Math.max(1, rows.length),
          FETCH_MAX / 2 / Math.max(1, fetched),
        )
        width = sliceMs * Math.min(CHANGE_MAX, Math.max(1 / CHANGE_MAX, change))
      }
      if (found.length === search.count) return found
    }
  }
  return found
}

/** What is left of a span when a slice at its begin is taken away, whichever end that is. */
function without(span: Slice, slice: Slice): Slice | undefined {
  const left =
    slice.fromMs <= span.fromMs
      ? { fromMs: slice.toMs, toMs: span.toMs }
      : { fromMs: span.fromMs, toMs: slice.fromMs }
  return left.fromMs < left.toMs ? left : undefined
}

function beginOf({ fromMs, toMs }: Slice, widthMs: number, { direction }: Search): Slice {
  return direction === 'older'
    ? { fromMs: Math.max(fromMs, toMs - widthMs), toMs }
    : { fromMs, toMs: Math.min(toMs, fromMs + widthMs) }
}

/** What is still to be searched of each month, in the order of the list. */
async function monthsOf(trx: Transaction<Tables>, search: Search): Promise<Slice[]> {
  const { table, filters, from, direction } = search
  const fromMs = from && Number(from.startedUs) / 1_000
  const upToMs = Math.min(filters.until?.getTime() ?? Infinity, (direction === 'older' && fromMs) || Infinity)
  const sinceMs = Math.max(filters.since?.getTime() ?? 0, (direction === 'newer' && fromMs) || 0)
  const months = (await monthSlices(trx, table))
    .map((month) => ({
      fromMs: Math.max(month.fromMs, Math.floor(sinceMs)),
      toMs: Math.min(month.toMs, Math.floor(upToMs) + 1),
    }))
    .filter((slice) => slice.fromMs < slice.toMs)
  return direction === 'older' ? months.reverse() : months
}

/** The first rows of a slice that match, and how many the rare condition alone has found in it; of more than FETCH_MAX, that there are more. */
async function fetchSlice(
  trx: Transaction<Tables>,
  { inOrder, statuses, rest, skillAndRest }: TraceConditions,
  search: Search,
  slice: Slice,
): Promise<{ rows: FoundRow[]; fetched: number }> {
  const find = [...skillAndRest, ...findable(rest), ...boundsOf(search), within(slice)]
  const check = [...inOrder, ...statusIn(statuses), ...rest.map((one) => one.check)]
  // Cut before it is put in order, so that indexes by anything but time are of use.
  const { rows } = await sql<FoundRow & { fetched: number }>`
    with fetched as materialized (
         select * from ${sql.table(search.table)} where ${allOf(find)} limit ${FETCH_MAX + 1})
    select fetched, listed.* from (select count(*)::integer as fetched from fetched) as counted
      left join lateral (${listOf(sql`select * from fetched`, search, check)}) as listed on true`.execute(trx)
  return { rows: rows.filter((row) => row.trace_id !== null), fetched: Number(rows[0]?.fetched) }
}

/** The first rows of what is left of a month that match, found by all indexes but that of times: it tells pages, and makes what the others find less exact. */
function fetchTogether(
  trx: Transaction<Tables>,
  { inOrder, statuses, rest }: TraceConditions,
  search: Search,
  left: Slice,
): Promise<FoundRow[]> {
  const { fromMs, toMs } = monthBounds(monthOf(left.fromMs))
  const find = allOf([...inOrder, ...statusIn(statuses), ...findable(rest), within({ fromMs, toMs })])
  const matching = sql`select * from ${sql.table(search.table)} where ${find} offset 0`
  const check = [...rest.map((one) => one.check), ...boundsOf(search), within(left)]
  return selectRows(trx, matching, search, check)
}

const findable = (rest: TraceConditions['rest']): RawBuilder<boolean>[] =>
  rest.flatMap(({ find }) => find ?? [])

const statusIn = (statuses: TraceConditions['statuses']): RawBuilder<boolean>[] =>
  statuses === undefined ? [] : [sql`status = any(${statuses})`]

const boundsOf = (search: Search): RawBuilder<boolean>[] => [...windowOf(search), ...beyond(search)]

const within = ({ fromMs, toMs }: Slice): RawBuilder<boolean> =>
  sql`started_at >= ${new Date(fromMs)} and started_at < ${new Date(toMs)}`
