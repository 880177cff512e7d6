import type { Delta } from './delta.ts'
import { RunPart } from './run-part.ts'

/** What stands between two deltas of a frame where the text can be cut. Inside of a text in JSON its quotes would be escaped. */
export const DELTA_CUT = '},{"t":"'

const ID_AT = '{"t":"'.length
const ID_LENGTH = 36

/**
 * Whether the deltas stand in the frame's text so that it can be cut between them without being parsed: all of them, each beginning with its id
 * and a comma, without white space before that, and without a line break anywhere; and nothing in them looks like the beginning of another.
 * So our client writes them. `text`: a letter for each byte; parts MUST be of it.
 */
export function isCuttable(text: string, deltas: readonly (Pick<Delta, 't'> | RunPart)[]): boolean {
  if (!text.startsWith(DELTA_CUT.slice(2), 1) || !text.endsWith('}]') || text.includes('\n')) return false
  let from = 1
  for (const [i, delta] of deltas.entries()) {
    const { t } = delta
    if (!text.startsWith(t, from + ID_AT) || !text.startsWith('",', from + ID_AT + ID_LENGTH)) return false
    const cut = text.indexOf(DELTA_CUT, from)
    if (cut < 0 !== (i === deltas.length - 1)) return false
    // What nests in its attributes may look like the next one, which then is written otherwise.
    const end = delta instanceof RunPart ? delta.end : closingEnd(text, from)
    if (end !== (cut < 0 ? text.length - 1 : cut + 1)) return false
    from = cut + 2
  }
  return deltas.length > 0
}

const [QUOTE, BACKSLASH, OPEN, CLOSE] = [0x22, 0x5c, 0x7b, 0x7d]

/** Behind the bracket that closes the object which begins here, of whatever form it is. The text MUST be JSON. */
function closingEnd(text: string, from: number): number {
  let depth = 0
  let isInText = false
  for (let at = from; at < text.length; at++) {
    const letter = text.charCodeAt(at)
    if (isInText && letter === BACKSLASH) at += 1
    else if (letter === QUOTE) isInText = !isInText
    else if (isInText) continue
    else if (letter === OPEN) depth += 1
    else if (letter === CLOSE && --depth === 0) return at + 1
  }
  return -1
}
