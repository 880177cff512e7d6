import { sql, type Transaction } from 'kysely'
import { monthSlices, type Slice } from './month-slices.ts'
import type { Tables } from './tables.ts'
import type { TraceConditions } from './trace-conditions.ts'
import { allOf, beyond, type FoundRow, type Search, selectRows, windowOf } from './trace-list.ts'

/** Most rows that are fetched at once: of a slice with more, a part is asked for. */
const FETCH_MAX = 2_000
const WIDTH_MIN_MS = 1_000
/** How many times as wide, or narrow, as the one before a slice is at most. */
const CHANGE_MAX = 16

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
  for (const month of await monthsOf(trx, search)) {
    let left: Slice | undefined = month
    // Where more matched than are fetched at once: until it is behind, slices stay as narrow as it takes.
    let crowd: Slice | undefined
    while (left !== undefined) {
      const count = search.count - found.length
      const slice = beginOf(left, Math.max(WIDTH_MIN_MS, Math.ceil(width)), search)
      const sliceMs = slice.toMs - slice.fromMs
      const { rows, matching } = await fetchSlice(trx, conditions, { ...search, count }, slice)
      if (matching > FETCH_MAX && sliceMs > WIDTH_MIN_MS) {
        crowd = slice
        width = sliceMs / CHANGE_MAX
        continue
      }
      found.push(...rows)
      if (found.length === search.count) return found
      left = without(left, slice)
      if (crowd !== undefined) crowd = without(crowd, slice)
      if (crowd === undefined)
        width = sliceMs * Math.min(CHANGE_MAX, Math.max(1 / CHANGE_MAX, (2 * count) / Math.max(1, matching)))
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

/** The first rows of a slice, and how many match in it; of more than FETCH_MAX, that there are more. */
async function fetchSlice(
  trx: Transaction<Tables>,
  { inOrder, statuses, rest }: TraceConditions,
  search: Search,
  { fromMs, toMs }: Slice,
): Promise<{ rows: FoundRow[]; matching: number }> {
  const conditions = allOf([
    ...inOrder,
    ...(statuses === undefined ? [] : [sql<boolean>`status = any(${statuses})`]),
    ...rest.map(({ check, find }) => find ?? check),
    ...windowOf(search),
    ...beyond(search),
    sql`started_at >= ${new Date(fromMs)}`,
    sql`started_at < ${new Date(toMs)}`,
  ])
  const most = toMs - fromMs > WIDTH_MIN_MS ? FETCH_MAX + 1 : null
  // Cut before it is put in order, so that indexes by anything but time are of use.
  const matching = sql`select * from ${sql.table(search.table)} where ${conditions} limit ${most}`
  const counted = sql`count(*) over ()::integer`.as('matching')
  const rows = await selectRows<FoundRow & { matching: number }>(trx, matching, search, { more: [counted] })
  return { rows, matching: Number(rows[0]?.matching ?? 0) }
}
