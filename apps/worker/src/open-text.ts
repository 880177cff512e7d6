import {
  type OpenRecord,
  openName,
  openRecord,
  openRecords,
  type Said,
  saidOfRecord,
} from '@stepwell/protocol'
import { isDelta, startOf } from '@stepwell/protocol/schema'

/** What the text of an open trace holds. */
export interface OpenText {
  /** The text itself, byte by byte. */
  read: string | Buffer
  /** Deltas, each under its field. */
  said: Said[]
  fields: string[]
  /** Records that are none of ours: no delta, or one of another trace. */
  foreign: OpenRecord[]
  /** In UTF-16 units. */
  size: number
}

const FIELD = /^[0-9A-Za-z_-]{1,32}:[0-9]{1,16}(?:\.[0-9]+)?$/

/** Reads the text of an open trace. What others have put in is told apart: it must hold up neither this trace nor those beside it. */
export function readOpenText(trace: string, bytes: Buffer): OpenText {
  const text = bytes.toString()
  const open: OpenText = {
    // As text it takes half the time to send, but what is not UTF-8 would come out as other bytes.
    read: text.includes('\uFFFD') ? bytes : text,
    said: [],
    fields: [],
    foreign: [],
    size: text.length,
  }
  for (const record of openRecords(text)) {
    const said = FIELD.test(record.field) ? saidOf(trace, record) : undefined
    if (said === undefined) open.foreign.push(record)
    else {
      open.said.push(said)
      open.fields.push(record.field)
    }
  }
  return open
}

/** The text without what is foreign. */
export function ownText(text: string, foreign: readonly OpenRecord[]): string {
  const isForeign = new Set(foreign.map(openRecord))
  return openRecords(text)
    .map(openRecord)
    .filter((record) => !isForeign.has(record))
    .join('')
}

function saidOf(trace: string, record: OpenRecord): Said | undefined {
  try {
    const said = saidOfRecord(trace, record)
    const { delta } = said
    return isDelta(delta) && openName(delta.t, startOf(delta) ?? 0) === trace ? said : undefined
  } catch {
    return undefined
  }
}
