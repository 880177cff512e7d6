/** Most that a list can be asked for. */
const LIMIT_MAX = 1_000

/**
 * The first `limit` members of a list, and whether there are more, which one more than is shown tells. Where no more can be asked for, a
 * full list counts as cut.
 */
export async function cutList<T>(
  limit: number,
  ask: (limit: number) => Promise<T[]>,
): Promise<{ rows: T[]; truncated: boolean }> {
  const found = await ask(limit < LIMIT_MAX ? limit + 1 : limit)
  return { rows: found.slice(0, limit), truncated: found.length > limit || found.length === LIMIT_MAX }
}
