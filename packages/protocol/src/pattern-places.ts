import { isJoint, VARIABLE } from './pattern-writer.ts'

/** A pattern in words, `<*>` and punctuation. */
export interface TokenizedPattern {
  tokens: readonly string[]
  /** Which tokens are words. */
  words: readonly number[]
  /** Per token where what stands before it ends, and where what follows it begins, if it is masked: runs of what varies are one. */
  left: readonly number[]
  right: readonly number[]
  /** Polynomial hash of the tokens before each, 32 bits. */
  hashes: readonly number[]
}

const TOKENS = /<\*>|[\p{L}\p{N}\p{M}_$.\-/@#%&*+\\~]*[\p{L}\p{N}][\p{L}\p{N}\p{M}_$.\-/@#%&*+\\~]*|./gsu
const WORD = /[\p{L}\p{N}]/u
const BASE = 0x01000193
const POWERS = [1]

/** Takes a pattern apart. */
export function tokenize(pattern: string): TokenizedPattern {
  const tokens: readonly string[] = pattern.match(TOKENS) ?? []
  const words: number[] = []
  const left: number[] = []
  const right: number[] = []
  const hashes = [0]
  let variable = -1
  tokens.forEach((token, i) => {
    left.push(variable >= 0 && isJoint(tokens, variable + 1, i) ? variable : i)
    if (token === VARIABLE) variable = i
    else if (WORD.test(token)) words.push(i)
    hashes.push((Math.imul(hashes[i] as number, BASE) + hashOf(token)) | 0)
    POWERS[i + 1] ??= Math.imul(POWERS[i] as number, BASE)
  })
  variable = -1
  for (let i = tokens.length - 1; i >= 0; i--) {
    right[i] = variable >= 0 && isJoint(tokens, i + 1, variable) ? variable + 1 : i + 1
    if (tokens[i] === VARIABLE) variable = i
  }
  return { tokens, words, left, right, hashes }
}

const textOf = (tokens: readonly string[], from: number, to: number): string =>
  tokens.slice(from, to).join('')

/** FNV-1a. */
function hashOf(token: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < token.length; i++) hash = Math.imul(hash ^ token.charCodeAt(i), BASE)
  return hash
}

const HASH_OF_VARIABLE = hashOf(VARIABLE)

/** Whether two words stand side by side: then one mask covers both. */
export function areJoined({ tokens, left, right }: TokenizedPattern, a: number, b: number): boolean {
  const from = right[a] as number
  const to = left[b] as number
  return to <= from || isJoint(tokens, from, to)
}

/** A hash of `maskedText`, 32 bits, of none, one or two words that are not joined. Costs the same however long the pattern is. */
export function maskedHash(pattern: TokenizedPattern, masked: readonly number[]): number {
  const { left, right, hashes } = pattern
  const [a, b] = masked
  const end = hashes.length - 1
  if (a === undefined) return hashes[end] as number
  const first = withVariable(hashes[left[a] as number] as number)
  if (b === undefined) return withPart(first, hashes, right[a] as number, end)
  const second = withVariable(withPart(first, hashes, right[a] as number, left[b] as number))
  return withPart(second, hashes, right[b] as number, end)
}

const withVariable = (hash: number): number => (Math.imul(hash, BASE) + HASH_OF_VARIABLE) | 0

function withPart(hash: number, hashes: readonly number[], from: number, to: number): number {
  const power = POWERS[to - from] as number
  const part = (hashes[to] as number) - Math.imul(hashes[from] as number, power)
  return (Math.imul(hash, power) + part) | 0
}

/** The pattern as it would be if these words, any number of them in their order, were masked too. */
export function maskedText(pattern: TokenizedPattern, masked: readonly number[]): string {
  const { tokens, left, right } = pattern
  let text = ''
  let from = 0
  masked.forEach((token, i) => {
    const last = masked[i - 1]
    if (last === undefined || !areJoined(pattern, last, token))
      text += textOf(tokens, from, left[token] as number) + VARIABLE
    from = right[token] as number
  })
  return text + textOf(tokens, from, tokens.length)
}
