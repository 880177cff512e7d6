import type { FrameField } from '@stepwell/protocol/schema'

/** A stream entry: id, and fields and values in turn, the deltas as bytes; null where it was deleted from the stream. */
export type Entry = [id: string, fields: FrameField[] | null]

/** The same as Redis answers it where it is asked for bytes. */
export type EntryBytes = [id: Buffer, fields: Buffer[] | null]

const DELTAS = 'd'

export function entryOf([id, fields]: EntryBytes): Entry {
  if (fields === null) return [String(id), null]
  let name = ''
  const texts = fields.map((field, i): FrameField => {
    if (i % 2 === 1 && name === DELTAS) return field
    name = field.toString()
    return name
  })
  return [String(id), texts]
}
