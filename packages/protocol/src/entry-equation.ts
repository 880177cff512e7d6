import { GROUP } from './keys.ts'
import { replyFields } from './redis-reply.ts'

/**
 * What became of the entries of a stream since it began, or since Redis came back empty. `unaccounted` = added − (stored + dead
 * + pending + unread): 0, or somebody else has acked or deleted entries.
 */
export interface EntryEquation {
  /** Entries that producers have sent. */
  added: number
  /** Acked by workers, with everything in them stored or folded. */
  stored: number
  /** Acked by workers, with a part in the dead letters. */
  dead: number
  /** Read by workers, and not acked yet. */
  pending: number
  /** Not read by any worker. */
  unread: number
  unaccounted: number
}

/**
 * Replies of Redis, read at one moment (MULTI): XINFO GROUPS, HGETALL of the counts. Not XINFO STREAM: it answers with whole
 * entries, and those may be large.
 */
export interface EquationReplies {
  groups: unknown
  counts: unknown
}

/** The equation, or undefined where Redis does not tell enough: no group yet, a version before 7, entries deleted from the middle. */
export function entryEquation({ groups, counts }: EquationReplies): EntryEquation | undefined {
  if (!Array.isArray(groups)) return undefined
  const group = groups.map(replyFields).find((one) => one.get('name') === GROUP)
  const lag = group?.get('lag')
  // A group that was made after the first entries is not told how many it has read before it has read one.
  const read = group?.get('last-delivered-id') === '0-0' ? 0 : group?.get('entries-read')
  if (group === undefined || typeof read !== 'number' || typeof lag !== 'number') return undefined
  const acked = replyFields(counts ?? {})
  const stored = Number(acked.get('stored') ?? 0)
  const dead = Number(acked.get('dead') ?? 0)
  const pending = Number(group.get('pending'))
  const unaccounted = read - stored - dead - pending
  return { added: read + lag, stored, dead, pending, unread: lag, unaccounted }
}

/**
 * How many entries the group has not read, from XINFO GROUPS and XINFO STREAM: as Redis tells it; where it does not, the share
 * of the stream that is younger than what was read last.
 */
export function unreadEntries(
  group: ReadonlyMap<string, unknown>,
  stream: ReadonlyMap<string, unknown>,
): number {
  const lag = group.get('lag')
  if (typeof lag === 'number') return lag
  const read = group.get('last-delivered-id')
  const last = stream.get('last-generated-id')
  const first = stream.get('first-entry')
  if (read === last || !Array.isArray(first)) return 0
  const length = Number(stream.get('length'))
  const [firstMs, readMs, lastMs] = [first[0], read, last].map((id) => Number(String(id).split('-')[0]))
  if (lastMs === undefined || firstMs === undefined || readMs === undefined || readMs < firstMs) return length
  return Math.ceil((length * (lastMs - readMs + 1)) / (lastMs - firstMs + 1))
}
