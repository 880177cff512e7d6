import {
  addMonths,
  type Month,
  monthBounds,
  monthOf,
  monthOfPartition,
  partitionName,
} from '@stepwell/protocol'
import { minuteOf } from '@stepwell/protocol/statistics'
import { CompiledQuery, type Kysely, type RawBuilder, sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { sizeOf } from './month-twin.ts'
import { recordRetention } from './retention-records.ts'
import { insertMarks } from './rollup-marks.ts'
import { withSettings } from './session.ts'
import type { Tables } from './tables.ts'

/** How many months ahead partitions are made. */
export const MONTHS_AHEAD = 3

// How long making a partition waits for a lock before it gives way, for the sake of the writes that wait for it; who needs the
// month tries again.
const LOCK_TIMEOUT = '1s'
// A process that stands still between two statements would keep the lock, and all others from making any month.
const STANDSTILL_TIMEOUT = '10s'
// How long a month that is dropped waits for its readers. Meanwhile no other month can be attached: a backup of hours would block that
// for hours.
const DETACH_TIMEOUT_MS = 30_000
/** Much longer than a detach may take: statistics of the month are not rolled up from what is just going. */
const WHILE_GOING_MS = 3_600_000

/**
 * How often autovacuum looks at a month that is written to: every so many new rows (migration 0012 has the same), not after a fifth of the month. An index tells what rows are like
 * only on pages that are known to be seen by all (docs/adr/0009-search.md), and it is the newest that is asked for. Each page is gone over once, in any case.
 */
const OFTEN_VACUUMED = sql`autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000`

/** The month of a time and the next three. */
export function monthsAround(nowMs: number): Month[] {
  const current = monthOf(nowMs)
  return Array.from({ length: MONTHS_AHEAD + 1 }, (_, i) => addMonths(current, i))
}

/**
 * Makes the partitions of these months where they are missing; returns the names of those made. Idempotent, and safe from
 * any number of processes at once: an advisory lock lets one through at a time, and each looks again behind it.
 * A table is made aside and then attached: `create table … partition of` would block inserts for as long as any reader
 * holds the parent (https://www.postgresql.org/docs/current/ddl-partitioning.html, 5.12.2.2).
 */
export async function ensurePartitions(database: Database, months: readonly Month[]): Promise<string[]> {
  const made: string[] = []
  for (const month of months) {
    if (await isAttached(database, partitionName(month))) continue
    if (await makePartition(database, month)) made.push(partitionName(month))
  }
  return made
}

async function isAttached({ db, schema }: Database, name: string): Promise<boolean> {
  const { rows } = await sql<{ attached: boolean }>`
    select exists (
      select from pg_inherits where inhrelid = to_regclass(${qualified(schema, name)}) and not inhdetachpending) as attached`.execute(
    db,
  )
  return rows[0]?.attached ?? false
}

async function makePartition(database: Database, month: Month): Promise<boolean> {
  const { schema } = database
  const name = partitionName(month)
  const parent = sql.table(qualified(schema, 'execution_traces'))
  const partition = sql.table(qualified(schema, name))
  const { fromMs, toMs } = monthBounds(month)
  const [from, to] = [fromMs, toMs].map((ms) => sql.lit(new Date(ms).toISOString()))
  return database.db.transaction().execute(async (trx) => {
    await sql`set local lock_timeout = ${sql.lit(LOCK_TIMEOUT)}`.execute(trx)
    await sql`set local idle_in_transaction_session_timeout = ${sql.lit(STANDSTILL_TIMEOUT)}`.execute(trx)
    await sql`select pg_advisory_xact_lock(hashtext('stepwell.partition'))`.execute(trx)
    if (await isAttached({ ...database, db: trx as never }, name)) return false
    // A table of that name that is not attached was left by a retention that stopped half-way: attach it again.
    await sql`create table if not exists ${partition} (like ${parent} including all) with (${OFTEN_VACUUMED})`.execute(
      trx,
    )
    await sql`alter table ${parent} attach partition ${partition} for values from (${from}) to (${to})`.execute(
      trx,
    )
    const { rows } = await sql<{ any: boolean }>`select exists (select from ${partition}) as "any"`.execute(
      trx,
    )
    if (rows[0]?.any) await markMonth({ db: trx, schema }, month, Date.now())
    return true
  })
}

/** The months that have a partition, oldest first. */
export async function listPartitions({ db, schema }: Database): Promise<Month[]> {
  const { rows } = await sql<{ name: string }>`
    select c.relname as name
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = to_regclass(${qualified(schema, 'execution_traces')})
     order by c.relname`.execute(db)
  return rows.flatMap((row) => monthOfPartition(row.name) ?? [])
}

/** A month that was dropped. */
export interface DroppedMonth {
  month: Month
  /** Traces, as Postgres last knew: about, and 0 where it never looked. */
  traces: number
  /** With its indexes. */
  bytes: number
}

/**
 * Detaches and drops every partition that ended before `beforeMs`, but for those with traces that still run; returns them. `detach …
 * concurrently` blocks neither readers nor writers. It waits for those that are there already: when that takes longer than
 * `timeoutMs` (default: 30,000) it throws (55P03 or 57014). Idempotent: what an earlier call began is ended now.
 */
export async function dropPartitionsBefore(
  database: Database,
  beforeMs: number,
  { timeoutMs = DETACH_TIMEOUT_MS, nowMs = Date.now() } = {},
): Promise<DroppedMonth[]> {
  const { db, schema } = database
  const parent = sql.table(qualified(schema, 'execution_traces'))
  const dropped: DroppedMonth[] = []
  for (const { name, attached, pending, about } of await monthTables(database)) {
    const month = monthOfPartition(name)
    if (month === undefined || monthBounds(month).toMs > beforeMs) continue
    const partition = sql.table(qualified(schema, name))
    // What is detached already is not seen by anybody: it cannot wait for its end.
    if (attached && !pending && (await hasRunning(database, partition))) continue
    // Before it goes, so that nobody counts what is not there any more; and after.
    await markMonth(database, month, nowMs + WHILE_GOING_MS)
    if (attached) {
      const how = sql.raw(pending ? 'finalize' : 'concurrently')
      const bounds = { statement_timeout: `${timeoutMs}ms`, lock_timeout: `${timeoutMs}ms` }
      await withSettings(database, bounds, (session) =>
        sql`alter table ${parent} detach partition ${partition} ${how}`.execute(session),
      )
    }
    const traces = Math.max(0, Math.round(about))
    const bytes = await db.transaction().execute(async (trx) => {
      // Who writes to the month attaches it again: from here on he waits, and then makes another.
      await sql`lock table ${partition} in access exclusive mode`.execute(trx)
      const held = { ...database, db: trx as Kysely<Tables> }
      if ((await isAttached(held, name)) || (await hasRunning(held, partition))) return undefined
      const size = await sizeOf(trx, qualified(schema, name))
      // That there were some is what matters: parts of them do not come back.
      await recordRetention(trx, month, { removed: Math.max(1, traces), lookedFor: 'dropped', nowMs })
      await sql`drop table ${partition}`.execute(trx)
      return size
    })
    if (bytes === undefined) {
      // Something came at the last moment.
      await ensurePartitions(database, [month])
      continue
    }
    await markMonth(database, month, nowMs)
    dropped.push({ month, traces, bytes })
  }
  return dropped
}

interface MonthTable {
  name: string
  attached: boolean
  pending: boolean
  about: number
}

/** All tables that are named like a month, what is half detached first. */
async function monthTables({ db, schema }: Database): Promise<MonthTable[]> {
  const { rows } = await sql<MonthTable>`
    select c.relname as name, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as pending,
           c.reltuples::float8 as about
      from pg_class c left join pg_inherits i on i.inhrelid = c.oid
     where c.relnamespace = (select relnamespace from pg_class where oid = to_regclass(${qualified(schema, 'execution_traces')}))
       and c.relkind = 'r' and c.relname like 'execution\\_traces\\_____\\___'
     order by pending desc, c.relname`.execute(db)
  return rows
}

async function hasRunning({ db }: Database, partition: RawBuilder<unknown>): Promise<boolean> {
  const { rows } = await sql<{ running: boolean }>`
    select exists (select from ${partition} where status = 'running') as running`.execute(db)
  return rows[0]?.running ?? false
}

/** Says that what is rolled up of a month is not what its traces are any more; to be called in the transaction that makes it so, or before. */
export async function markMonth(
  { db, schema }: { db: Kysely<Tables>; schema: string | undefined },
  month: Month,
  dueMs: number,
): Promise<void> {
  const { fromMs, toMs } = monthBounds(month)
  const ranges = [[minuteOf(fromMs), minuteOf(toMs)] as const]
  await db.executeQuery(
    CompiledQuery.raw(insertMarks(qualified(schema, 'execution_rollup_marks'), [{ dueMs, ranges }])),
  )
}
