import { createHash } from 'node:crypto'
import { canonicalJson, InvalidInputError, type Json } from '@stepwell/protocol'
import { traceIdSchema } from '@stepwell/protocol/schema'
import * as z from 'zod'

/** The last trace of a page: the next one begins after it. */
export interface Position {
  /** ISO text in UTC with microseconds, as Postgres wrote it. */
  startedText: string
  traceId: string
}

const VERSION = 1

const cursorSchema = z.strictObject({
  v: z.literal(VERSION),
  f: z.string(),
  // In a form that Postgres reads, and within its years.
  s: z.iso.datetime({ precision: 6 }).refine((text) => text >= '1970'),
  t: traceIdSchema,
})

/** A short text that is the same for the same filters only. */
export function fingerprint(filters: Json): string {
  return createHash('sha256').update(canonicalJson(filters)).digest('base64url').slice(0, 16)
}

/** A position as opaque text, bound to the filters. */
export function encodeCursor({ startedText, traceId }: Position, filtersPrint: string): string {
  const text = JSON.stringify({ v: VERSION, f: filtersPrint, s: startedText, t: traceId })
  return Buffer.from(text).toString('base64url')
}

/** The position that a cursor tells. Throws InvalidInputError for what is no cursor, and for a cursor of other filters. */
export function decodeCursor(cursor: string, filtersPrint: string): Position {
  const { success, data } = cursorSchema.safeParse(parseJson(Buffer.from(cursor, 'base64url').toString()))
  if (!success) {
    throw new InvalidInputError(
      'findTraces: cursor: not one of ours; give the nextCursor of a page as it was',
    )
  }
  if (data.f !== filtersPrint) {
    throw new InvalidInputError(
      'findTraces: cursor: it belongs to other filters; repeat those of the page it came with, or leave it out',
    )
  }
  return { startedText: data.s, traceId: data.t }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
