import { type RawBuilder, sql } from 'kysely'

// Migration 0007 made the index with these bounds, milliseconds. What people ask for is mostly one of them: then the class is the answer.
const BOUNDS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((ten) =>
  [1, 2, 3, 4, 5, 6, 8].map((n) => n * ten),
)

const classOf = (durationMs: RawBuilder<unknown>): RawBuilder<number> =>
  sql`width_bucket(${durationMs}, ${sql.lit(`{${BOUNDS.join()}}`)}::double precision[])`

/**
 * That a trace took so long, milliseconds, inclusive: as it is looked at, and as the index of duration classes finds those that may have. A class
 * holds the durations from one bound to the next; each is in one, and a longer one never in a lower one.
 */
export function tookFrom(minMs: number): { check: RawBuilder<boolean>; find: RawBuilder<boolean> } {
  return tookAs(sql`>=`, minMs)
}

/** The same for at most so long. */
export function tookUpTo(maxMs: number): { check: RawBuilder<boolean>; find: RawBuilder<boolean> } {
  return tookAs(sql`<=`, maxMs)
}

function tookAs(
  than: RawBuilder<unknown>,
  ms: number,
): { check: RawBuilder<boolean>; find: RawBuilder<boolean> } {
  const check = sql<boolean>`total_duration_ms ${than} ${ms}`
  const bound = classOf(sql`${ms}::double precision`)
  return { check, find: sql`${classOf(sql.ref('total_duration_ms'))} ${than} ${bound} and ${check}` }
}
