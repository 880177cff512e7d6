import { createHash } from 'node:crypto'

/**
 * The set of words of a text, as similarity compares them: what white space separates, in lower case (Unicode, whatever the
 * locale), each once, in the order in which they come first. Of an empty text an empty set. Words are as long as the text has
 * them: an index over words SHOULD be one over something short.
 */
export function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().split(/\s+/).filter(Boolean))
}

/** The id of a set of words, whatever their order: 32 hexadecimal digits, the first 128 bits of the SHA-256 of the words in order of their UTF-16 units. */
export function wordSetId(words: ReadonlySet<string>): string {
  return createHash('sha256')
    .update([...words].sort().join(' '))
    .digest('hex')
    .slice(0, 32)
}
