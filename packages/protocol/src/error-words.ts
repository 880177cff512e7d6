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

/**
 * What stands for the words where they are looked up: 32 bits each, signed, in ascending order, each once. FNV-1a of the UTF-16
 * units, the low byte of each first. Two words may share one, so whoever counts common words by them counts at most as many words too few
 * as the asker's own words share hashes, and must look at the words where it matters.
 */
export function wordHashes(words: ReadonlySet<string>): number[] {
  const hashes = new Set<number>()
  for (const word of words) hashes.add(wordHash(word))
  return [...hashes].sort((a, b) => a - b)
}

/** The hash of one word, as in `wordHashes`. */
export function wordHash(word: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >> 8), 0x01000193)
  }
  return hash | 0
}
