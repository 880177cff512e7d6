/** What a character is to whoever looks for words: a word is made of letters, digits and joiners. */
export const Kind = { other: 0, space: 1, letter: 2, digit: 3, joiner: 4, quote: 5 } as const

const ASCII = Uint8Array.from({ length: 128 }, (_, code) => {
  const text = String.fromCharCode(code)
  if (code <= 32 || code === 127) return Kind.space
  if (/[a-z]/i.test(text)) return Kind.letter
  if (/\d/.test(text)) return Kind.digit
  if ('_-./\\@%+#$~&*?'.includes(text)) return Kind.joiner
  return '\'"`'.includes(text) ? Kind.quote : Kind.other
})

/** Opening quotes beyond ASCII, and what closes them. */
const PAIRED_QUOTES: Readonly<Record<string, string>> = {
  '‘': '’',
  '“': '”',
  '„': '“',
  '«': '»',
  '‹': '›',
  '「': '」',
  '『': '』',
  '《': '》',
}

// One more than the kind; 0: not asked for yet. Regular expressions are too slow to be asked for each character.
const known = new Uint8Array(65_536)

/** The kind of a UTF-16 unit: one of `Kind`. */
export function kindOf(code: number): number {
  if (code < 128) return ASCII[code] as number
  // What lies beyond the end of a text.
  if (Number.isNaN(code)) return Kind.other
  const kind = known[code] as number
  if (kind > 0) return kind - 1
  const found = kindBeyondAscii(code)
  known[code] = found + 1
  return found
}

function kindBeyondAscii(code: number): number {
  const text = String.fromCharCode(code)
  if (text in PAIRED_QUOTES) return Kind.quote
  if (/[\s\u200b]/.test(text)) return Kind.space
  if (/\p{Nd}/u.test(text)) return Kind.digit
  // Scripts that put no spaces between words (Thai, Chinese, Japanese …): a word would be a sentence, and one digit would mask it.
  if ((code >= 0x0e00 && code <= 0x0eff) || (code >= 0x2e80 && code <= 0xabff)) return Kind.other
  return /[\p{L}\p{M}\p{N}\p{Cs}]/u.test(text) ? Kind.letter : Kind.other
}

/** Whether a unit belongs to a word. */
export function isWordUnit(code: number): boolean {
  const kind = kindOf(code)
  return kind === Kind.letter || kind === Kind.digit || kind === Kind.joiner
}

/** Whether a unit is a letter or a digit. NaN, what lies beyond the end of a text, is not. */
export function isAlphanumeric(code: number): boolean {
  const kind = kindOf(code)
  return kind === Kind.letter || kind === Kind.digit
}

/** The quote that closes this one. */
export function closingQuote(open: string): string {
  return PAIRED_QUOTES[open] ?? open
}
