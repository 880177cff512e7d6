import type { Month } from '@stepwell/protocol'
import { type Kysely, sql, type Transaction } from 'kysely'
import { copyMonth, type Going } from './copy-month.ts'
import type { Database } from './database.ts'
import { lateWritesOf } from './late-writes.ts'
import {
  catchUp,
  columnsOf,
  createTwin,
  freezeTwin,
  indexTwin,
  type MonthTables,
  sizeOf,
  swapTwin,
  tablesOf,
  twinOid,
} from './month-twin.ts'
import { markMonth } from './partitions.ts'
import { recordRetention } from './retention-records.ts'
import { withSettings } from './session.ts'
import type { Tables } from './tables.ts'
import { isConflict } from './transient-error.ts'

// A month is rewritten: its rows that stay are copied into a twin of the partition, which then takes its place.
//
//   partition ── copy, in one snapshot ──▶ twin ── indexes ── freeze ── catch up ── swap, in one transaction ── drop
//
// Readers and writers go on with the partition until the swap. What is written to it meanwhile is noted by whoever writes it
// (late-writes.ts) and taken over as it stands: nothing is lost, and nothing that has just come is removed. Broken off anywhere
// before the swap's commit, the partition is as it was, after it the month is done; what is left is dropped by the next one.

/** Where a rewrite is. */
export type RewriteStage = 'copy' | 'index' | 'freeze' | 'catch up' | 'swap' | 'drop'

/** How a month is rewritten. */
export interface RewriteOptions extends Going {
  /** Noted with the month. */
  lookedFor: string
  nowMs: number
  /** Told, and waited for, before each stage. */
  onStage?: ((stage: RewriteStage) => unknown) | undefined
  /** Breaks it off. */
  stop?: AbortSignal | undefined
}

/** What a rewrite did. */
export interface MonthRewrite {
  /** Traces. */
  removed: number
  /** Traces, those caught up with apart. */
  kept: number
  /** Traces written meanwhile, which stay whatever they are. */
  caughtUp: number
  /** Of the partition, with its indexes. */
  bytesBefore: number
  /** 0: nothing stayed, and the partition is gone. */
  bytesAfter: number
  /** For how long everybody had to wait for the swap at most: milliseconds. */
  lockedMs: number
  /** Milliseconds from first to last. */
  tookMs: number
}

// Whoever comes while the swap waits for its lock waits behind it.
const SWAP_LOCK_TIMEOUT = '300ms'
// A vacuum of the partition gives way after `deadlock_timeout`, a second; this wait holds up nobody.
const LOCK_TIMEOUT = '5s'
// Nobody may stand still while everybody waits.
const STANDSTILL_TIMEOUT = '2s'
const SWAP_STATEMENT_TIMEOUT = '10s'
/** How long those in the way are waited for, trying again and again. */
const PATIENCE_MS = 60_000
const PAUSE_MS = 1_000
/** Notes of late writes that are caught up with in one go; so many are few enough for the swap. */
const NOTES_AT_ONCE = 100

/**
 * Rewrites a month without what goes; running traces stay. Undefined, and nothing is changed, if that is less than `minShare` of it.
 * Needs room for what stays once more. Nobody else may rewrite meanwhile (`exclusively`). Rejects with what `pg` throws (55P03 where
 * those in the way did not end within a minute) or OldSnapshotError, and leaves the month as it was.
 */
export function rewriteMonth(
  database: Database,
  month: Month,
  options: RewriteOptions,
): Promise<MonthRewrite | undefined> {
  const tables = tablesOf(database, month)
  const settings = { statement_timeout: '0', lock_timeout: LOCK_TIMEOUT }
  const work = async (db: Kysely<Tables>): Promise<MonthRewrite | undefined> => {
    try {
      return await rewrite({ ...database, db }, tables, month, options)
    } finally {
      // Of a swap that is done this is what was the partition. Where the connection is gone the next one drops it.
      await sql`drop table if exists ${tables.twin}`.execute(db).catch(() => {})
    }
  }
  return withSettings(database, settings, work, options.stop)
}

async function rewrite(
  { db, schema }: Pick<Database, 'db' | 'schema'>,
  tables: MonthTables,
  month: Month,
  options: RewriteOptions,
): Promise<MonthRewrite | undefined> {
  const { onStage, stop, lookedFor, nowMs } = options
  const startedMs = performance.now()
  const enter = async (stage: RewriteStage): Promise<void> => {
    await onStage?.(stage)
    stop?.throwIfAborted()
  }
  await enter('copy')
  const twin = await createTwin(db, tables, month)
  const columns = await columnsOf(db, tables)
  const copied = await copyMonth(db, tables, columns, options)
  if (copied === undefined) return undefined
  await enter('index')
  await indexTwin(db, tables)
  await enter('freeze')
  await patiently(stop, async () => {
    if (!(await freezeTwin(db, tables, copied.xid))) throw new OldSnapshotError()
  })
  await enter('catch up')
  /** Adds to `known` what it has caught up with, gives how many rows. */
  const follow = async (
    trx: Kysely<Tables>,
    known: Set<string>,
  ): Promise<{ notes: number; rows: number }> => {
    const late = await lateWritesOf(trx, month, known, NOTES_AT_ONCE)
    const keys = new Map(
      late.flatMap((note) => note.keys).map((key) => [`${key.traceId}@${key.startedAtMs}`, key]),
    )
    const rows = await catchUp(trx, tables, columns, [...keys.values()])
    for (const { entryId } of late) known.add(entryId)
    return { notes: late.length, rows }
  }
  const followed = new Set<string>()
  let caughtUp = 0
  for (let notes = NOTES_AT_ONCE; notes === NOTES_AT_ONCE; ) {
    const step = await db.transaction().execute((trx) => follow(trx, followed))
    notes = step.notes
    caughtUp += step.rows
  }
  await enter('swap')
  const bytesBefore = await sizeOf(db, tables.names.partition)
  const swap = async (trx: Transaction<Tables>) => {
    const lockedAtMs = await lock(trx, tables)
    if ((await twinOid(trx, tables)) !== twin) throw new Error('somebody else rewrites this month')
    // A swap that is taken back takes its catching up back too.
    const known = new Set(followed)
    let rows = 0
    for (let notes = 1; notes > 0; ) {
      const step = await follow(trx, known)
      notes = step.notes
      rows += step.rows
    }
    await recordRetention(trx, month, { removed: copied.removed, lookedFor, nowMs })
    await markMonth({ db: trx, schema }, month, nowMs)
    return { bytesAfter: await swapTwin(trx, tables, month), lockedAtMs, rows }
  }
  const { bytesAfter, lockedAtMs, rows } = await patiently(stop, () => db.transaction().execute(swap))
  const swappedAtMs = performance.now()
  await onStage?.('drop')
  await sql`drop table ${tables.twin}`.execute(db)
  return {
    removed: copied.removed,
    kept: copied.kept,
    caughtUp: caughtUp + rows,
    bytesBefore,
    bytesAfter,
    lockedMs: swappedAtMs - lockedAtMs,
    tookMs: performance.now() - startedMs,
  }
}

/** A transaction from before the copy is still open, and would not see the rows where they are then. They are waited for. */
export class OldSnapshotError extends Error {
  constructor() {
    super(
      'a transaction that began before the month was copied is still open: it would not see what was copied',
    )
  }
}

/** Keeps everybody out; gives since when. */
async function lock(trx: Transaction<Tables>, { parent, partition }: MonthTables): Promise<number> {
  await sql`set local idle_in_transaction_session_timeout = ${sql.lit(STANDSTILL_TIMEOUT)}`.execute(trx)
  await sql`set local statement_timeout = ${sql.lit(SWAP_STATEMENT_TIMEOUT)}`.execute(trx)
  // Sends a vacuum away, before anybody has to wait for us.
  await sql`lock table ${partition} in share update exclusive mode`.execute(trx)
  await sql`set local lock_timeout = ${sql.lit(SWAP_LOCK_TIMEOUT)}`.execute(trx)
  const sinceMs = performance.now()
  // In the order in which everybody takes them.
  await sql`lock table only ${parent} in access exclusive mode`.execute(trx)
  await sql`lock table ${partition} in access exclusive mode`.execute(trx)
  return sinceMs
}

/** Tries again while others are in the way, for a minute. */
async function patiently<T>(stop: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const mayPass = isConflict(error) || error instanceof OldSnapshotError
      if (!mayPass || stop?.aborted || performance.now() > untilMs) throw error
    }
    // Not in step with anybody who does the same.
    await pause(PAUSE_MS * (0.5 + Math.random()), stop)
  }
}

function pause(ms: number, stop: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      stop?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    stop?.addEventListener('abort', end)
  })
}
