import { createHash } from 'node:crypto'
import { addressEnd, colonAddressEnd, isNamedAddress } from './addresses.ts'
import { closingQuote, isAlphanumeric, isWordUnit, Kind, kindOf } from './character-kinds.ts'
import { PatternWriter } from './pattern-writer.ts'
import { REDACTED } from './plain-json.ts'
import { withoutStackFrames } from './stack-frames.ts'
import { isVariableWord } from './variable-words.ts'

/** Most UTF-16 units of a pattern. What a message says later does not count: it is a payload, as a rule. */
export const PATTERN_MAX_LENGTH = 500

/** Grows with every change of the rules. Patterns made by older ones have to be made again. */
export const PATTERN_VERSION = 3

/**
 * The pattern of an error message: the message with `<*>` for each part that differs from one occurrence to the next. That is: words
 * with a digit (numbers, ids, hashes, addresses, times, versions), quantities with their units, dates, URLs, paths, files, hosts, quoted text,
 * several words in brackets, values of `key=value`. Runs of those are one `<*>`. White space becomes one space; stack frames and
 * punctuation at the end go.
 *
 * Kept is what tells failures apart: the status of HTTP (`status code 404`, `GET /x - 404`), and what stands under keys like `message` and `code` of JSON and
 * `key=value`, and in `SomeError('…')`.
 *
 * A function of the message alone: it does not depend on order, nor on who computes it. Never throws. Takes time linear in the
 * message, 3 µs for 100 characters. At most PATTERN_MAX_LENGTH units; of a message without words, what there is; of an empty one, nothing.
 */
export function errorPattern(message: string): string {
  return new Scanner(withoutStackFrames(message).trim()).pattern()
}

/** The id of a pattern: 16 hexadecimal digits, the first 64 bits of its SHA-256. Of a million patterns two share one with a chance of 1 in 30 million. */
export function patternId(pattern: string): string {
  return createHash('sha256').update(pattern).digest('hex').slice(0, 16)
}

// What stands under these keys is read like the rest of the message.
const TELLING_KEYS = new Set(
  'message msg error errors err detail details reason cause desc description title finish_reason stop_reason code type status kind errorcode error_code errortype error_type'.split(
    ' ',
  ),
)
const STATUS_WORDS = new Set('http status code statuscode status_code'.split(' '))
const METHODS = new Set('GET HEAD POST PUT PATCH DELETE OPTIONS'.split(' '))
/** Before what a parser stumbled over. */
const CHARACTER_WORDS = new Set('token character char'.split(' '))
/** Before the name of a host. */
const HOST_CODES = new Set('ENOTFOUND EAI_AGAIN EAI_NONAME'.split(' '))
const VALUE_WORDS = new Set('true false True False null NULL None nil undefined NaN'.split(' '))

const COLON = 58
const EQUALS = 61

/** Goes through a message once, from left to right. Looks ahead only as far as it then goes, or as a bound allows. */
class Scanner {
  readonly #text: string
  /** Whether the text was cut off: what is open at its end goes on beyond it. */
  readonly #isCut: boolean
  readonly #writer = new PatternWriter()
  #at = 0
  /** Whether the next word is the value of a key. */
  #isValue = false
  /** Where the last URL ended, or what `GET` stands before: the status of HTTP may follow. */
  #requestEnd = 0
  /** Ends of quotes whose inside is read like the rest. */
  readonly #openQuotes: number[] = []
  /** Per closing quote the next that was found, so that none is looked for twice. */
  readonly #closings = new Map<string, number>()

  constructor(text: string) {
    this.#text = text
    this.#isCut = text.endsWith('…') || text.endsWith('...')
  }

  pattern(): string {
    const text = this.#text
    const writer = this.#writer
    while (this.#at < text.length && writer.length < PATTERN_MAX_LENGTH) {
      const code = text.charCodeAt(this.#at)
      const kind = kindOf(code)
      if (kind === Kind.space) {
        writer.space()
        this.#at += this.#spaceLength()
      } else if (this.#isStumbledOver()) this.#variable(this.#at + 1)
      else if (kind === Kind.quote) this.#quote()
      else if (kind === Kind.other) this.#punctuation(code)
      else this.#word()
    }
    const pattern = writer.finish()
    const whole = this.#isCut ? pattern + closersOf(pattern) : pattern
    // Not between the halves of a character.
    const isHalf = /[\ud800-\udbff]/.test(whole[PATTERN_MAX_LENGTH - 1] ?? '')
    return whole.slice(0, isHalf ? PATTERN_MAX_LENGTH - 1 : PATTERN_MAX_LENGTH)
  }

  // The colours of a terminal are space too: ESC [ … letter.
  #spaceLength(): number {
    const text = this.#text
    if (!text.startsWith('\u001b[', this.#at)) return 1
    let end = this.#at + 2
    while (end < text.length && kindOf(text.charCodeAt(end)) !== Kind.letter) end++
    return end + 1 - this.#at
  }

  #variable(end: number, isNumber = false): void {
    this.#at = end
    this.#isValue = false
    this.#writer.variable(isNumber)
  }

  #quote(): void {
    const at = this.#at
    const mark = this.#text[at] as string
    if (this.#openQuotes.at(-1) === at) this.#openQuotes.pop()
    else if (!isAlphanumeric(this.#text.charCodeAt(at - 1))) {
      const close = this.#closingOf(at, mark)
      if (close >= 0 && !this.#tells(close)) {
        this.#variable(close + 1)
        return
      }
      if (close >= 0) this.#openQuotes.push(close)
    }
    this.#writer.punctuation(mark)
    this.#at++
  }

  /** The next quote that can close: no letter follows, and it is escaped if the opening one is. */
  #closingOf(at: number, mark: string): number {
    const text = this.#text
    const isEscaped = text[at - 1] === '\\'
    const quote = closingQuote(mark)
    const key = isEscaped ? `\\${quote}` : quote
    const known = this.#closings.get(key)
    if (known !== undefined && (known < 0 || known > at)) return known
    let close = text.indexOf(quote, at + 1)
    while (
      close >= 0 &&
      (isAlphanumeric(text.charCodeAt(close + 1)) || (text[close - 1] === '\\') !== isEscaped)
    )
      close = text.indexOf(quote, close + 1)
    // `name', as GNU and Ruby write it.
    if (close < 0 && mark === '`') close = this.#closingOf(at, "'")
    if (close < 0 && this.#isCut) close = text.length
    this.#closings.set(key, close)
    return close
  }

  /** Whether quoted text is read like the rest: a key, what a message or an exception says, or all there is. */
  #tells(close: number): boolean {
    const text = this.#text
    let next = close + 1
    while (text[next] === ' ' && next - close < 10) next++
    const { length, lastWord, gap } = this.#writer
    // A key of JSON; not `parsing "x": invalid syntax`.
    if (text[next] === ':' && /(?:^|[{[(,] ?)\\?$/.test(gap)) return true
    if (gap === '(' && /(?:Error|Exception)$/.test(lastWord)) return true
    if (TELLING_KEYS.has(lastWord.toLowerCase())) {
      if (/^(?:\\?['"]:| ?= ?$)/.test(gap)) return true
      // { code: 'ECONNREFUSED' }; not `Unknown type: 'x'`
      if (gap === ': ' && /[{,] ?\w+: $/.test(this.#writer.tail)) return true
    }
    return length === 0 && text.length - next < 10 && /^[.!;\s]*$/.test(text.slice(next))
  }

  #punctuation(code: number): void {
    const text = this.#text
    const at = this.#at
    const next = text.charCodeAt(at + 1)
    if (code === EQUALS) this.#equals(next)
    else if (text[at] === '[' && this.#bracket()) return
    else if (text[at] === '(' && this.#row()) return
    else if (code === COLON && next === COLON && colonAddressEnd(text, at) > 0)
      this.#variable(colonAddressEnd(text, at))
    else {
      // <1 sec, >5, ^1.2.3
      const isSign = '<>^'.includes(text[at] as string) && kindOf(next) === Kind.digit
      if (!isSign || kindOf(text.charCodeAt(at - 1)) !== Kind.space)
        this.#writer.punctuation(text[at] as string)
      this.#at++
    }
  }

  /** What stands after `key=` varies; so does nothing, `key= other=1`, and `key = value,`. */
  #equals(next: number): void {
    const text = this.#text
    const before = text[this.#at - 1] ?? ' '
    this.#writer.punctuation('=')
    this.#at++
    // ==, =>, =~; !=, <=, :=
    if ('=>~'.includes(text[this.#at] ?? ' ') || '!<>=~:'.includes(before)) return
    if (isWordUnit(next)) {
      this.#isValue = true
      return
    }
    let start = this.#at
    while (kindOf(text.charCodeAt(start)) === Kind.space) start++
    let end = start
    while (isWordUnit(text.charCodeAt(end))) end++
    const after = text[end] ?? ''
    const isWordThere = end > start
    if (isWordThere && ',;)]}'.includes(after)) this.#isValue = true
    else if (isWordThere ? after === '=' : ',;)'.includes(after)) this.#writer.variable()
  }

  /** Several words in brackets, and an empty list, are what the words before speak of: `Could not find [the end of all things]`. */
  #bracket(): boolean {
    const text = this.#text
    const at = this.#at
    if (text.startsWith(REDACTED, at)) {
      this.#variable(at + REDACTED.length)
      return true
    }
    // [::1]:6379
    const colonsEnd = colonAddressEnd(text, at + 1)
    if (colonsEnd > 0 && text.startsWith(']:', colonsEnd)) {
      this.#variable(colonsEnd + 2)
      return true
    }
    if (at === 0 || kindOf(text.charCodeAt(at - 1)) !== Kind.space) return false
    const inside = text.slice(at + 1, at + 1_000).split(']', 1)[0] as string
    const close = at + 1 + inside.length
    if (
      text[close] !== ']' ||
      (inside !== '' && (!inside.includes(' ') || ' {['.includes(inside[0] as string)))
    )
      return false
    this.#writer.punctuation('[')
    this.#variable(close)
    return true
  }

  /** What a row holds, as Postgres says it: `Failing row contains (7, null, a b).` */
  #row(): boolean {
    const { lastWord, gap } = this.#writer
    if (gap !== ' ' || lastWord !== 'contains') return false
    const line = this.#text.slice(this.#at, this.#at + 1_000).split('\n', 1)[0] as string
    this.#variable(this.#at + (line.lastIndexOf(')') + 1 || line.length))
    return true
  }

  /** One character alone after a word like `token`: where a parser gave up. */
  #isStumbledOver(): boolean {
    const next = this.#at + 1
    const isAlone = next === this.#text.length || kindOf(this.#text.charCodeAt(next)) === Kind.space
    return isAlone && this.#writer.gap === ' ' && CHARACTER_WORDS.has(this.#writer.lastWord)
  }

  #word(): void {
    const text = this.#text
    const start = this.#at
    const colonsEnd = colonAddressEnd(text, start)
    if (colonsEnd > 0) {
      this.#variable(colonsEnd)
      return
    }
    // An absolute path, with its query and its line.
    if (text[start] === '/' && isAlphanumeric(text.charCodeAt(start + 1))) {
      const isRequest = METHODS.has(this.#writer.lastWord)
      this.#variable(addressEnd(text, start))
      if (isRequest) this.#requestEnd = this.#at
      return
    }
    let end = start
    let hasDigit = false
    let hasLetter = false
    let isJoined = false
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end)
      const kind = kindOf(code)
      if (kind === Kind.letter) hasLetter = true
      else if (kind === Kind.digit) hasDigit = true
      else if (kind === Kind.joiner) isJoined = true
      else if (code !== COLON || !hasLetter) break
      else if (text.startsWith('//', end + 1) || isNamedAddress(text, start, end)) {
        this.#variable(addressEnd(text, end))
        this.#requestEnd = this.#at
        return
      } else if (end !== start + 1 || !'\\/'.includes(text[end + 1] ?? ' ')) break // C:\, C:/
    }
    let stop = end
    while (isJoined && stop > start + 1 && '.?-&\\'.includes(text[stop - 1] as string)) stop--
    this.#at = end
    this.#put(start, text.slice(start, stop), hasDigit, hasLetter, isJoined)
    if (stop < end) this.#writer.punctuation(text.slice(stop, end))
  }

  #put(start: number, word: string, hasDigit: boolean, hasLetter: boolean, isJoined: boolean): void {
    const text = this.#text
    const writer = this.#writer
    const isValue = this.#isValue && !TELLING_KEYS.has(writer.lastWord.toLowerCase())
    this.#isValue = false
    if (hasDigit && this.#isStatus(start, word)) writer.word(word.startsWith('HTTP/') ? 'HTTP' : word)
    else if (hasLetter && this.#isHost()) writer.variable()
    else if (hasDigit || hasLetter) {
      // Most words are short and plain: they need no closer look.
      if (isValue || ((hasDigit || isJoined || word.length >= 8) && isVariableWord(word, hasDigit))) {
        // The padding of base64.
        while (hasDigit && text[this.#at] === '=' && !isWordUnit(text.charCodeAt(this.#at + 1))) this.#at++
        writer.variable(hasDigit && !hasLetter)
      } else if (writer.gap !== ' ' && VALUE_WORDS.has(word) && /[:=] ?$/.test(writer.gap)) writer.variable()
      else writer.word(word)
    } else if (/^\*{3,}$/.test(word) || (isValue && /^[/-]$/.test(word))) writer.variable()
    else writer.punctuation(word)
  }

  /** The host that was not found. */
  #isHost(): boolean {
    const { lastWord, gap } = this.#writer
    return lastWord.startsWith('E') && gap === ' ' && HOST_CODES.has(lastWord)
  }

  /** HTTP/1.1; and the status of HTTP where it is called so, or follows a request. */
  #isStatus(start: number, word: string): boolean {
    if (word.length !== 3) return word.startsWith('HTTP/')
    if (!/^[45]\d\d$/.test(word)) return false
    const { lastWord, gap } = this.#writer
    if (STATUS_WORDS.has(lastWord.toLowerCase())) return true
    // Not `returned 404 rows`.
    if (/^ [a-z]/.test(this.#text.slice(this.#at, this.#at + 2))) return false
    if (gap === ' ' && (lastWord === 'returned' || /\bresponded with $/.test(this.#writer.tail))) return true
    return /^(?::| -| [-=]>)? \(?$/.test(this.#text.slice(this.#requestEnd, start))
  }
}

/** What would close the brackets that a text leaves open. */
function closersOf(text: string): string {
  let closers = ''
  for (const c of text) {
    const kind = '([{'.indexOf(c)
    if (kind >= 0) closers = ')]}'[kind] + closers
    else if (c === closers[0]) closers = closers.slice(1)
  }
  return closers
}
