import { DELTA_CUT } from './frame-cuts.ts'
import { COMMA, LIST, LIST_END } from './plain-values.ts'
import { PartTable } from './read-parts.ts'
import type { RunPart } from './run-part.ts'

// Steps stand in the table as they stand on the wire. So of a run that went well, as our client writes it, the bytes of its steps can be taken from
// the frame as they are: nine in ten of the values that a worker would make of them live only to be written again.

/** What JSON.parse gives of the deltas of a frame, but for runs and their parts, which are left as they stand. Throws as it does. */
export function parseAroundRuns(bytes: Buffer): unknown {
  const pieces: unknown[] | undefined = cutAroundRuns(bytes)
  if (pieces === undefined) return JSON.parse(bytes.toString())
  try {
    // Each by itself is JSON, so together they are a list of these.
    for (let i = 0; i < pieces.length; i++)
      if (typeof pieces[i] === 'string') pieces[i] = JSON.parse(pieces[i] as string)
    return pieces
  } catch {
    // One was cut where no delta ends; or what is wrong is said better of the whole.
    return JSON.parse(bytes.toString())
  }
}

const CUT = Buffer.from(DELTA_CUT)

/** Runs and parts of a list of deltas, and the texts of what stands between its commas; undefined where it has none. */
function cutAroundRuns(bytes: Buffer): (RunPart | string)[] | undefined {
  const last = bytes.length - 1
  // A text that ends otherwise would be cut for ever.
  if (bytes[0] !== LIST || bytes[last] !== LIST_END) return undefined
  const table = new PartTable(bytes)
  const pieces: (RunPart | string)[] = []
  let hasRuns = false
  let at = 0
  do {
    at += 1
    const part = table.read(at)
    if (part !== undefined && !isLacking(part)) {
      hasRuns = true
      pieces.push(part)
      at = part.end
      continue
    }
    const cut = bytes.indexOf(CUT, at)
    const end = cut < 0 ? last : cut + 1
    pieces.push(bytes.toString('utf8', at, end))
    at = end
  } while (bytes[at] === COMMA)
  return hasRuns && at === last ? pieces : undefined
}

/** Of a run that comes whole, and lacks something. */
const isLacking = (part: RunPart): boolean => part.b !== undefined && part.e !== undefined && !part.isWhole
