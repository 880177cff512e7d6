import { monthBounds, monthOfPartition } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type { Tables } from './tables.ts'

/** A span of time: milliseconds since 1970, the second not in it. */
export interface Slice {
  fromMs: number
  toMs: number
}

/** The months that have a partition, oldest first. `table` with its schema. */
export async function monthSlices(db: Kysely<Tables>, table: string): Promise<Slice[]> {
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_inherits join pg_class on oid = inhrelid
     where inhparent = to_regclass(${table}) and not inhdetachpending order by relname`.execute(db)
  return rows.flatMap(({ name }) => {
    const month = monthOfPartition(name)
    return month === undefined ? [] : [monthBounds(month)]
  })
}
