import { type Month, monthBounds, monthOfPartition, partitionName } from '@stepwell/protocol'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import type { TraceKey } from './late-writes.ts'
import type { Tables } from './tables.ts'

// The table that takes the place of a month's partition: made aside, as Postgres wants it in order to attach it without looking
// at its rows.

const SUFFIX = '_rewrite'
const BETWEEN = '_between'
const BOUNDS = 'stepwell_month'

/** Tables of a month that is rewritten, as they stand in a statement. */
export interface MonthTables {
  parent: RawBuilder<unknown>
  partition: RawBuilder<unknown>
  twin: RawBuilder<unknown>
  /** The twin's name while it changes places with the partition. */
  between: RawBuilder<unknown>
  /** The same as texts, for functions of the catalogue. */
  names: { parent: string; partition: string; twin: string }
}

/** The tables that a rewrite of a month works with. */
export function tablesOf({ schema }: Pick<Database, 'schema'>, month: Month): MonthTables {
  const name = partitionName(month)
  const names = {
    parent: qualified(schema, 'execution_traces'),
    partition: qualified(schema, name),
    twin: qualified(schema, `${name}${SUFFIX}`),
  }
  return {
    parent: sql.table(names.parent),
    partition: sql.table(names.partition),
    twin: sql.table(names.twin),
    between: sql.table(qualified(schema, `${name}${BETWEEN}`)),
    names,
  }
}

/** Makes the twin, without indexes. A check says that its rows are of the month: attaching it then reads none. Gives its oid. */
export async function createTwin(db: Kysely<Tables>, tables: MonthTables, month: Month): Promise<string> {
  const [from, to] = boundsOf(month)
  await sql`
    create table ${tables.twin} (
      like ${tables.parent} including all excluding indexes,
      constraint ${sql.id(BOUNDS)} check (started_at is not null and started_at >= ${from} and started_at < ${to})
    )`.execute(db)
  return (await twinOid(db, tables)) as string
}

const boundsOf = (month: Month): [RawBuilder<unknown>, RawBuilder<unknown>] => {
  const { fromMs, toMs } = monthBounds(month)
  return [sql.lit(new Date(fromMs).toISOString()), sql.lit(new Date(toMs).toISOString())]
}

/** Which table has the twin's name; undefined if none does. */
export async function twinOid(db: Kysely<Tables>, { names }: MonthTables): Promise<string | undefined> {
  const { rows } = await sql<{ oid: string | null }>`
    select to_regclass(${names.twin})::oid::text as oid`.execute(db)
  return rows[0]?.oid ?? undefined
}

/** The columns of the table, as a list; generated ones apart. */
export async function columnsOf(db: Kysely<Tables>, { names }: MonthTables): Promise<RawBuilder<unknown>> {
  const { rows } = await sql<{ columns: string }>`
    select string_agg(quote_ident(attname), ', ' order by attnum) as columns
      from pg_attribute
     where attrelid = to_regclass(${names.parent}) and attnum > 0 and not attisdropped and attgenerated = ''`.execute(
    db,
  )
  return sql.raw(rows[0]?.columns as string)
}

/** Makes all indexes that the table has: what lacks would be built while it is attached, with everybody waiting. */
export async function indexTwin(db: Kysely<Tables>, { twin, names }: MonthTables): Promise<void> {
  const { rows } = await sql<{ definition: string; unique: boolean; key: string | null }>`
    select pg_get_indexdef(i.indexrelid) as definition, i.indisunique as unique, pg_get_constraintdef(c.oid) as key
      from pg_index i left join pg_constraint c on c.conindid = i.indexrelid
     where i.indrelid = to_regclass(${names.parent})
     order by i.indexrelid`.execute(db)
  for (const { definition, unique, key } of rows) {
    if (key !== null) await sql`alter table ${twin} add ${sql.raw(key)}`.execute(db)
    else {
      const how = sql.raw(definition.slice(definition.indexOf(' USING ')))
      await sql`create ${sql.raw(unique ? 'unique index' : 'index')} on ${twin} ${how}`.execute(db)
    }
  }
}

/**
 * Freezes the twin: its rows are then seen by everybody, whenever he began. Whoever has a snapshot from before the copy, which
 * `xid` made, would see none of them once they are in the table, so false if there is anybody. It also spares the month every
 * later vacuum, and tells the planner what is in it.
 */
export async function freezeTwin(
  db: Kysely<Tables>,
  { twin, names }: MonthTables,
  xid: string,
): Promise<boolean> {
  await sql`vacuum (freeze, analyze) ${twin}`.execute(db)
  const { rows } = await sql<{ frozen: boolean }>`
    select age(relfrozenxid) < age(${xid}::xid8::xid) as frozen
      from pg_class where oid = to_regclass(${names.twin})`.execute(db)
  return rows[0]?.frozen ?? false
}

/** Takes over the rows of these keys as they stand in the partition now, those that are gone too. Gives how many are there. */
export async function catchUp(
  db: Kysely<Tables>,
  { partition, twin }: MonthTables,
  columns: RawBuilder<unknown>,
  keys: readonly TraceKey[],
): Promise<number> {
  if (keys.length === 0) return 0
  const ids = keys.map(({ traceId }) => traceId)
  const starts = keys.map(({ startedAtMs }) => new Date(startedAtMs))
  const isOne = sql`(trace_id, started_at) in (select * from unnest(${ids}::uuid[], ${starts}::timestamptz[]))`
  await sql`delete from ${twin} where ${isOne}`.execute(db)
  const { numAffectedRows } = await sql`
    insert into ${twin} (${columns}) select ${columns} from ${partition} where ${isOne}`.execute(db)
  return Number(numAffectedRows)
}

/**
 * Lets twin and partition change places: the partition is to be dropped when nobody waits any more, for removing the files of 860 MiB
 * takes 0.4 s. Without rows nothing takes its place. Gives the size of what is there now.
 */
export async function swapTwin(db: Kysely<Tables>, tables: MonthTables, month: Month): Promise<number> {
  const { parent, partition, twin, between, names } = tables
  const { rows } = await sql<{ empty: boolean }>`select not exists (select from ${twin}) as empty`.execute(db)
  const rename = (table: RawBuilder<unknown>, name: string): Promise<unknown> =>
    sql`alter table ${table} rename to ${sql.id(`${partitionName(month)}${name}`)}`.execute(db)
  await sql`alter table ${parent} detach partition ${partition}`.execute(db)
  await rename(twin, BETWEEN)
  await rename(partition, SUFFIX)
  if (rows[0]?.empty) {
    await sql`drop table ${between}`.execute(db)
    return 0
  }
  await rename(between, '')
  const [from, to] = boundsOf(month)
  await sql`alter table ${parent} attach partition ${partition} for values from (${from}) to (${to})`.execute(
    db,
  )
  await sql`alter table ${partition} drop constraint ${sql.id(BOUNDS)}`.execute(db)
  return sizeOf(db, names.partition)
}

/** Bytes of a table with its indexes. */
export async function sizeOf(db: Kysely<Tables>, name: string): Promise<number> {
  const { rows } = await sql<{ bytes: string }>`
    select pg_total_relation_size(to_regclass(${name})) as bytes`.execute(db)
  return Number(rows[0]?.bytes)
}

/** Drops the twins, and partitions that have changed places with one, of rewrites that were broken off. Nobody may be rewriting. */
export async function dropTwins({ db, schema }: Database): Promise<void> {
  const pattern = `^execution_traces_\\d{4}_\\d\\d${SUFFIX}$`
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_class
     where relnamespace = (select relnamespace from pg_class where oid = to_regclass(${qualified(schema, 'execution_traces')}))
       and relkind = 'r' and not relispartition and relname ~ ${pattern}
     order by 1`.execute(db)
  const names = rows
    .map(({ name }) => name)
    .filter((name) => monthOfPartition(name.slice(0, -SUFFIX.length)) !== undefined)
  for (const name of names) await sql`drop table if exists ${sql.table(qualified(schema, name))}`.execute(db)
}
