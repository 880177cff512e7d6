import { type RawBuilder, sql } from 'kysely'
import type { Cover } from './rollup-cover.ts'
import { millisecondsOf } from './tables.ts'

/** Width, bounds and number (from 1 on) of each part, as a table. */
export function partsTable(parts: Readonly<Cover['rollups']>): RawBuilder<unknown> {
  const time = (minute: number): string => new Date(minute * 60_000).toISOString()
  return sql`unnest(${parts.map(({ width }) => width * 60)}::integer[],
                    ${parts.map(({ range }) => time(range[0]))}::timestamptz[],
                    ${parts.map(({ range }) => time(range[1]))}::timestamptz[]) with ordinality as part(width_s, from_time, to_time, number)`
}

/** When a rollup `r` begins. */
export const startedMs = millisecondsOf(sql`r.bucket`)

/** That a rollup belongs to a row of `partsTable`. */
export const partOf = (table: string): RawBuilder<boolean> =>
  sql<boolean>`${sql.ref(`${table}.width_s`)} = part.width_s
    and ${sql.ref(`${table}.bucket`)} >= part.from_time and ${sql.ref(`${table}.bucket`)} < part.to_time`

/** A lent pool may leave bytea as the text that Postgres sends. */
export const bytesOf = (value: Uint8Array | string): Uint8Array =>
  typeof value === 'string' ? Buffer.from(value.slice(2), 'hex') : value
