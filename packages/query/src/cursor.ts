import { createHash } from 'node:crypto'
import { canonicalJson, InvalidInputError, type Json, parseTraceId } from '@stepwell/protocol'

/** A place in a list of traces: that of the trace with this start and id. */
export interface Position {
  /** Microseconds since 1970, decimal: as exact as Postgres. */
  startedUs: string
  traceId: string
}

/** Which way a list goes on from a place: to older traces, or back to newer ones. */
export type Direction = 'older' | 'newer'

/** Where a page begins, and which way it goes. */
export interface PageStart extends Position {
  direction: Direction
}

const VERSION = 1
const NEWER = 'newer'

/** An opaque text for a place in the list that these filters make. */
export function encodeCursor({ startedUs, traceId, direction }: PageStart, filters: Json): string {
  const parts = [VERSION, fingerprint(filters), startedUs, traceId, ...(direction === 'newer' ? [NEWER] : [])]
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}

/** The place in a cursor. Throws InvalidInputError for what is none, and for one of other filters. */
export function decodeCursor(cursor: string, filters: Json): PageStart {
  const [version, print, startedUs, traceId, way] = parseCursor(cursor)
  const isOurs =
    version === VERSION &&
    typeof startedUs === 'string' &&
    // From 1973 to 2286: what is longer may be beyond the years of Postgres.
    /^\d{15,16}$/.test(startedUs) &&
    typeof traceId === 'string' &&
    parseTraceId(traceId) === traceId &&
    (way === undefined || way === NEWER)
  if (!isOurs)
    throw new InvalidInputError('cursor must be the nextCursor or previousCursor of a page, unchanged')
  if (print !== fingerprint(filters)) {
    throw new InvalidInputError(
      'cursor belongs to a list with other filters: use it with the filters of its page',
    )
  }
  return { startedUs, traceId, direction: way === NEWER ? 'newer' : 'older' }
}

/** The parts of a cursor; none where it is not one. */
export function parseCursor(cursor: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(value) ? value : []
  } catch {
    return []
  }
}

/** What tells filters apart. */
export const fingerprint = (filters: Json): string =>
  createHash('sha256').update(canonicalJson(filters)).digest('base64url').slice(0, 12)
