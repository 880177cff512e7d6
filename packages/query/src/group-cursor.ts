import { InvalidInputError, type Json } from '@stepwell/protocol'
import { fingerprint, parseCursor } from './cursor.ts'

/** A place in a list of groups, and the window that their failures are counted in. */
export interface GroupPosition {
  /** Decimal. */
  count: string
  /** As tables have it. */
  groupId: string
  sinceMs: number
  untilMs: number
  /** Of which no failure is older; null: of any age. */
  newSinceMs: number | null
}

const VERSION = 1
/** Postgres knows fewer years than a Date does. */
const LATEST_MS = Date.UTC(9999, 11, 31)

/** An opaque text for a place in the list that these filters make. */
export function encodeGroupCursor(position: GroupPosition, filters: Json): string {
  const { count, groupId, sinceMs, untilMs, newSinceMs } = position
  const parts = [VERSION, fingerprint(filters), count, groupId, sinceMs, untilMs, newSinceMs]
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}

/** The place in a cursor. Throws InvalidInputError for what is none, and for one of other filters. */
export function decodeGroupCursor(cursor: string, filters: Json): GroupPosition {
  const [version, print, count, groupId, sinceMs, untilMs, newSinceMs] = parseCursor(cursor)
  const isTime = (ms: unknown): ms is number => Number.isInteger(ms) && Math.abs(ms as number) <= LATEST_MS
  const isOurs =
    version === VERSION &&
    typeof count === 'string' &&
    /^\d{1,15}$/.test(count) &&
    typeof groupId === 'string' &&
    /^-?\d{1,19}$/.test(groupId) &&
    BigInt.asIntN(64, BigInt(groupId)) === BigInt(groupId)
  if (!isOurs || !isTime(sinceMs) || !isTime(untilMs) || !(newSinceMs === null || isTime(newSinceMs)))
    throw new InvalidInputError('cursor must be the nextCursor of a page, unchanged')
  if (print !== fingerprint(filters))
    throw new InvalidInputError(
      'cursor belongs to a list with other filters: use it with the filters of its page',
    )
  return { count, groupId, sinceMs, untilMs, newSinceMs }
}
