import { createHash } from 'node:crypto'
import { canonicalJson, InvalidInputError, type Json, parseTraceId } from '@stepwell/protocol'

/** The last trace of a page: what comes after it is the next. */
export interface Position {
  /** Microseconds since 1970, decimal: as exact as Postgres. */
  startedUs: string
  traceId: string
}

const VERSION = 1

/** An opaque text for a position in the list that these filters make. */
export function encodeCursor({ startedUs, traceId }: Position, filters: Json): string {
  return Buffer.from(JSON.stringify([VERSION, fingerprint(filters), startedUs, traceId])).toString(
    'base64url',
  )
}

/** The position in a cursor. Throws InvalidInputError for what is none, and for one of other filters. */
export function decodeCursor(cursor: string, filters: Json): Position {
  const [version, print, startedUs, traceId] = parse(cursor)
  const isOurs =
    version === VERSION &&
    typeof startedUs === 'string' &&
    // From 1973 to 2286: what is longer may be beyond the years of Postgres.
    /^\d{15,16}$/.test(startedUs) &&
    typeof traceId === 'string' &&
    parseTraceId(traceId) === traceId
  if (!isOurs) throw new InvalidInputError('cursor must be the nextCursor of a page, unchanged')
  if (print !== fingerprint(filters)) {
    throw new InvalidInputError(
      'cursor belongs to a list with other filters: use it with the filters of its page',
    )
  }
  return { startedUs, traceId }
}

function parse(cursor: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(value) ? value : []
  } catch {
    return []
  }
}

const fingerprint = (filters: Json): string =>
  createHash('sha256').update(canonicalJson(filters)).digest('base64url').slice(0, 12)
