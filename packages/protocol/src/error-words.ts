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
 * What stands for a set of words where sets are looked up, in ascending order, each once: the hash of each word, and a key for each word that is of the word and
 * of how many there are, so that who looks for sets like one does not even find those that are much longer or shorter. Two words may share a hash or a key,
 * so whoever counts common words by them may count too many, or as many too few as the asker's own words share hashes, and must look
 * at the words where it matters.
 */
export function wordKeys(words: ReadonlySet<string>): number[] {
  const length = lengthClass(words.size)
  const hashes = wordHashes(words)
  return [...new Set([...hashes, ...hashes.map((hash) => wordKey(hash, length))])].sort((a, b) => a - b)
}

/** The hashes of words, each once. */
export const wordHashes = (words: ReadonlySet<string>): number[] => [...new Set([...words].map(wordHash))]

/** The key of a word, by its hash, in sets of this class. 32 bits, signed. */
export const wordKey = (hash: number, length: number): number => (hash + Math.imul(length, 0x9e3779b1)) | 0

/** Sets of up to so many words have a class of their own. */
const EXACT_MAX = 16
/** Further classes reach from one length to a quarter more. */
const GROWTH = Math.log(1.25)

/** The class of sets of so many words: it grows with their number. */
export const lengthClass = (count: number): number =>
  count <= EXACT_MAX ? count : EXACT_MAX + 1 + Math.floor(Math.log(count / (EXACT_MAX + 1)) / GROWTH)

/** The hash of one word: FNV-1a of the UTF-16 units, the low byte of each first. 32 bits, signed. */
export function wordHash(word: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >> 8), 0x01000193)
  }
  return hash | 0
}
