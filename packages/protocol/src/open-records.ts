/** One record in the text of an open trace. */
export interface OpenRecord {
  /** `<producer>:<frame>`, in what is ours: who said it, and in which frame. */
  field: string
  /** A delta without its trace id, in what is ours (`recordOfDelta`). */
  text: string
}

/** What a record begins with; then its text. A break comes first, not last, so that what others leave at our key stays apart. */
export const recordHead = (field: string): string => `\n${field} `

/** A record as it is appended. `text` MUST be without line breaks, as JSON.stringify writes it. */
export const openRecord = ({ field, text }: OpenRecord): string => recordHead(field) + text

/** The records in the text of an open trace, and what somebody else has put between them: all that is there, in its order. */
export function openRecords(text: string): OpenRecord[] {
  const records: OpenRecord[] = []
  for (const line of text.split('\n')) {
    if (line === '') continue
    const space = line.indexOf(' ')
    records.push(
      space < 0 ? { field: '', text: line } : { field: line.slice(0, space), text: line.slice(space + 1) },
    )
  }
  return records
}
