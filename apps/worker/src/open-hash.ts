import { openName, type Said, saidOfField } from '@stepwell/protocol'
import { isDelta, startOf } from '@stepwell/protocol/schema'

/** What the hash of an open trace holds. */
export interface OpenHash {
  /** Deltas, each under the name of its field. */
  said: Said[]
  fields: string[]
  /** Fields that are none of ours: no delta, or one of another trace. */
  foreign: [field: string, text: string][]
  /** In UTF-16 units. */
  size: number
}

const FIELD = /^[0-9A-Za-z_-]{1,32}:[0-9]{1,16}(?:\.[0-9]+)?$/

/** Reads the hash of an open trace. What others have put in is told apart: it must hold up neither this trace nor those beside it. */
export function readOpenHash(trace: string, hash: Readonly<Record<string, string>>): OpenHash {
  const open: OpenHash = { said: [], fields: [], foreign: [], size: 0 }
  for (const [field, text] of Object.entries(hash)) {
    open.size += text.length
    const said = FIELD.test(field) ? saidOf(trace, field, text) : undefined
    if (said === undefined) open.foreign.push([field, text])
    else {
      open.said.push(said)
      open.fields.push(field)
    }
  }
  return open
}

function saidOf(trace: string, field: string, text: string): Said | undefined {
  try {
    const said = saidOfField(trace, field, text)
    const { delta } = said
    return isDelta(delta) && openName(delta.t, startOf(delta) ?? 0) === trace ? said : undefined
  } catch {
    return undefined
  }
}
