import { type Month, monthBounds, monthOfPartition } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import type { Tables } from './tables.ts'

/** A span of time: milliseconds since 1970, the second not in it. */
export interface Slice {
  fromMs: number
  toMs: number
}

/** The months that have a partition, as far as they touch the span (both ends in it), oldest first. `table` with its schema. */
export async function monthSlices(
  db: Kysely<Tables>,
  table: string,
  span: { since?: Date | undefined; until?: Date | undefined },
): Promise<Slice[]> {
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_inherits join pg_class on oid = inhrelid
     where inhparent = to_regclass(${table}) and not inhdetachpending`.execute(db)
  return rows
    .flatMap(({ name }) => monthOfPartition(name) ?? [])
    .map((month: Month) => monthBounds(month))
    .filter(({ fromMs }) => span.until === undefined || fromMs <= span.until.getTime())
    .filter(({ toMs }) => span.since === undefined || toMs > span.since.getTime())
    .sort((a, b) => a.fromMs - b.fromMs)
}
