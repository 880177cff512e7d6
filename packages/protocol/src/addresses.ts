import { isAlphanumeric, Kind, kindOf } from './character-kinds.ts'

const COLON = 58

/** Where the URL or the path ends that `from` is in: at white space, a quote or a closing bracket, less the punctuation of the sentence. */
export function addressEnd(text: string, from: number): number {
  let end = from
  while (end < text.length) {
    const kind = kindOf(text.charCodeAt(end))
    if (kind === Kind.space || kind === Kind.quote || '<>)]}|'.includes(text[end] as string)) break
    // http://[::1]:80, redis://[redacted]@host
    const close = text[end] === '[' ? text.slice(end, end + 50).indexOf(']') : 0
    end += Math.max(close, 0) + 1
  }
  while (',.;:!?'.includes(text[end - 1] as string)) end--
  return end
}

/** Whether the word from here to a colon names an address by itself: `arn:aws:iam::1:role/x`, `urn:isbn:1`, `data:image/png;base64,…`. */
export function isNamedAddress(text: string, start: number, colon: number): boolean {
  return colon - start <= 4 && /^(?:[au]rn:\w|data:\w+\/)/.test(text.slice(start, start + 40))
}

/** Where an IPv6 address, a MAC address or a time of day ends that starts here; 0 if none does. */
export function colonAddressEnd(text: string, start: number): number {
  const before = text.charCodeAt(start - 1)
  if (before === COLON || isAlphanumeric(before)) return 0
  let end = start
  let colons = 0
  let digits = 0
  let letters = 0
  for (; end < text.length && end - start < 50; end++) {
    const code = text.charCodeAt(end)
    if (code === COLON) {
      colons++
      letters = 0
    } else if ((code >= 48 && code <= 57) || code === 46) digits++
    else if ((code >= 97 && code <= 102) || (code >= 65 && code <= 70)) {
      if (++letters > 4) return 0
    } else break
  }
  if (colons < 2 || (digits === 0 && colons < 5) || isAlphanumeric(text.charCodeAt(end))) return 0
  // A colon at the end belongs to the sentence.
  return text[end - 1] === ':' && text[end - 2] !== ':' ? end - 1 : end
}
