import { type Trace, type TraceRow, traceOfRow } from '@stepwell/protocol'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { MonthTables } from './month-twin.ts'
import { classSql, type RetentionRule } from './retention-policy.ts'
import type { Tables } from './tables.ts'

/** A trace that is about to be removed, as it was recorded. */
export interface RemovedTrace extends Trace {
  /** The error message is not its own: it is that of its failed step that ended last. */
  errorIsDerived: boolean
}

/** What of a month goes. */
export interface Going {
  /** Sorted by `sortRules`. */
  rules: readonly RetentionRule[]
  /** The classes that go, by their rules' numbers; `rules.length` stands for traces that no rule speaks of. */
  goes: readonly number[]
  /** Least share of the traces that must go: below, nothing is done. Nothing is never too little. */
  minShare: number
  /** Gets all that is about to be removed, page by page, before it is; the month stays as it is where it rejects. */
  onRemove?: ((traces: readonly RemovedTrace[]) => Promise<void>) | undefined
}

/** What was copied, in numbers of traces. */
export interface Copied {
  removed: number
  kept: number
  /** The transaction that has copied. */
  xid: string
}

/** Counts what goes, hands it over, and copies the rest into the twin, all in one snapshot. Undefined where too little goes. */
export function copyMonth(
  db: Kysely<Tables>,
  { partition, twin }: MonthTables,
  columns: RawBuilder<unknown>,
  { rules, goes, minShare, onRemove }: Going,
): Promise<Copied | undefined> {
  const isGone = sql<boolean>`${classSql(rules)} = any(${[...goes]}::integer[])`
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (trx) => {
      // In the order in which it lies there.
      await sql`set local synchronize_seqscans = off`.execute(trx)
      // Whoever takes what is removed may be slow.
      await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx)
      const { rows } = await sql<{ traces: string; removed: string; xid: string }>`
        select count(*) as traces, count(*) filter (where ${isGone}) as removed, pg_current_xact_id()::text as xid
          from ${partition}`.execute(trx)
      const { xid, ...counts } = rows[0] as { traces: string; removed: string; xid: string }
      const [traces, removed] = [Number(counts.traces), Number(counts.removed)]
      if (removed === 0 || removed < traces * minShare) return undefined
      if (onRemove !== undefined)
        for await (const page of pagesOf(trx, partition, isGone)) await onRemove(page)
      await sql`
        insert into ${twin} (${columns}) select ${columns} from ${partition} where not ${isGone}`.execute(trx)
      return { removed, kept: traces - removed, xid }
    })
}

/** Steps that a page has, so that memory stays bounded whatever the traces are like; or one trace, which may have 200,000. */
const STEPS_A_PAGE = 20_000
const PAGE_MAX = 500

async function* pagesOf(
  trx: Transaction<Tables>,
  partition: RawBuilder<unknown>,
  isGone: RawBuilder<boolean>,
): AsyncGenerator<RemovedTrace[]> {
  type Place = { started_text: string; trace_id: string }
  let after = sql``
  for (;;) {
    const rest = sql`from ${partition} where ${isGone} ${after} order by started_at, trace_id`
    const counts = await sql<{ step_count: number }>`select step_count ${rest} limit ${PAGE_MAX}`.execute(trx)
    if (counts.rows.length === 0) return
    const fits = countThatFits(counts.rows)
    const { rows } = await sql<TraceRow & Place>`
      select *, started_at::text as started_text ${rest} limit ${fits}`.execute(trx)
    yield rows.map((row) => ({ ...traceOfRow(row), errorIsDerived: row.merge_state?.derived_error === true }))
    const last = rows.at(-1) as Place
    after = sql`and (started_at, trace_id) > (${last.started_text}::timestamptz, ${last.trace_id}::uuid)`
  }
}

function countThatFits(rows: readonly { step_count: number }[]): number {
  let steps = 0
  const tooMany = rows.findIndex((row) => {
    steps += row.step_count
    return steps > STEPS_A_PAGE
  })
  return tooMany < 0 ? rows.length : Math.max(1, tooMany)
}
