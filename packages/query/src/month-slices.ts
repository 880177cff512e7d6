import { monthBounds, monthOfPartition } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import { type Settings, settingsIn } from './planner-settings.ts'
import type { Tables } from './tables.ts'

/** A span of time: milliseconds since 1970, the second not in it. */
export interface Slice {
  fromMs: number
  toMs: number
}

/**
 * The months that have a partition, oldest first. `table` with its schema. `settings` hold from then on, to the end of the transaction:
 * here, so that they take no time of their own.
 */
export async function monthSlices(trx: Kysely<Tables>, table: string, settings: Settings): Promise<Slice[]> {
  const { rows } = await sql<{ name: string }>`
    with set as materialized (select ${settingsIn(settings)})
    select relname as name from set, pg_inherits join pg_class on oid = inhrelid
     where inhparent = to_regclass(${table}) and not inhdetachpending order by relname`.execute(trx)
  return rows.flatMap(({ name }) => {
    const month = monthOfPartition(name)
    return month === undefined ? [] : [monthBounds(month)]
  })
}
