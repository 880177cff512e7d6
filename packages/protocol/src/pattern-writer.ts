/** What stands in a pattern for a part that varies. */
export const VARIABLE = '<*>'

const MONTHS_AND_DAYS = new Set(
  'Jan Feb Mar Apr May Jun Jul Aug Sep Sept Oct Nov Dec January February March April June July August September October November December Mon Tue Wed Thu Fri Sat Sun Monday Tuesday Wednesday Thursday Friday Saturday Sunday AM PM UTC GMT EST EDT CST CDT MST MDT PST PDT CET CEST BST IST JST'.split(
    ' ',
  ),
)
const UNITS = new Set(
  'B KB MB GB TB PB kB K M G KiB MiB GiB TiB byte bytes Byte Bytes bit bits ns us µs μs ms msec msecs s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days week weeks nanoseconds microseconds millis millisecond milliseconds MILLISECONDS SECONDS MINUTES HOURS DAYS kB/s KB/s MB/s GB/s kbps Mbps Gbps Hz kHz MHz GHz'.split(
    ' ',
  ),
)
const OPEN_BRACKETS: Readonly<Record<string, string>> = { '(': ')', '[': ']' }

/** Units that whoever asks for what was written last needs at most. */
const TAIL = 24

/**
 * Puts a pattern together of words, what varies, and the punctuation between them. Runs of what varies become one, so that a list is
 * the same pattern however long it is; so do a quantity and its unit, a date that names its month, and a value that is said
 * twice, `1133 bytes (1.1 KB)`.
 */
export class PatternWriter {
  /** What was written last, without the punctuation after it. */
  #written = ''
  /** Punctuation and spaces that wait for what comes next. */
  #gap = ''
  #lastWord = ''
  #afterVariable = false
  #afterNumber = false
  /** How it was before the first of the names of months and days that are the last words. */
  #beforeDate: { written: string; gap: string; afterVariable: boolean } | undefined
  /** How it was before a bracket that so far holds what varies, and what would close it. */
  #beforeBracket: { written: string; close: string } | undefined

  /** UTF-16 units so far. */
  get length(): number {
    return this.#written.length + this.#gap.length
  }

  /** The last word; empty if something that varies was written since. */
  get lastWord(): string {
    return this.#lastWord
  }

  /** Punctuation and spaces since what was written last. */
  get gap(): string {
    return this.#gap
  }

  /** The last that was written, with the punctuation after it. */
  get tail(): string {
    return this.#written.slice(-TAIL) + this.#gap
  }

  space(): void {
    if (!this.#gap.endsWith(' ') && (this.#written !== '' || this.#gap !== '')) this.#gap += ' '
  }

  punctuation(text: string): void {
    if (this.#beforeBracket?.close === text && this.#afterVariable && this.#gap === '') {
      this.#written = this.#beforeBracket.written
      this.#beforeBracket = undefined
      this.#gap = ''
      return
    }
    // connection from <*> ()
    if (text === ')' && this.#afterVariable && this.#gap === ' (') {
      this.#gap = ''
      return
    }
    // Rulers, `=====`, are as long as there was room.
    if (this.#gap.endsWith(text.repeat(3))) return
    this.#gap += text.slice(0, 3)
  }

  word(text: string): void {
    const isDate = isCapital(text) && MONTHS_AND_DAYS.has(text)
    if (this.#afterVariable && this.#gap === ' ') {
      if (this.#afterNumber && UNITS.has(text)) {
        this.#gap = ''
        this.#afterNumber = false
        return
      }
    }
    // 10:00 PM, 10:00 +0200 (CEST)
    if (this.#afterVariable && isDate && /^ \(?$/.test(this.#gap)) {
      this.variable()
      return
    }
    if (!isDate) this.#beforeDate = undefined
    else if (this.#beforeDate === undefined || !/^[ ,]*$/.test(this.#gap))
      this.#beforeDate = { written: this.#written, gap: this.#gap, afterVariable: this.#afterVariable }
    this.#write(text)
    this.#lastWord = text
    this.#afterVariable = false
    this.#beforeBracket = undefined
  }

  /** Something that varies; `isNumber`: a unit may follow. */
  variable(isNumber = false): void {
    this.#afterNumber = isNumber
    this.#lastWord = ''
    if (this.#beforeDate !== undefined) {
      if (/^[ ,]*$/.test(this.#gap)) {
        this.#written = this.#beforeDate.written
        this.#gap = this.#beforeDate.gap
        this.#afterVariable = this.#beforeDate.afterVariable
      }
      this.#beforeDate = undefined
    }
    if (this.#afterVariable && isJoint(this.#gap)) {
      this.#gap = ''
      return
    }
    const close =
      this.#afterVariable && this.#gap.length <= 2 ? OPEN_BRACKETS[this.#gap.trimStart()] : undefined
    this.#beforeBracket = close === undefined ? undefined : { written: this.#written, close }
    this.#write(VARIABLE)
    this.#afterVariable = true
  }

  /** The pattern, without punctuation at its end. */
  finish(): string {
    const text = this.#written + this.#gap
    let end = text.length
    while (end > 0 && ' .,:;!…-'.includes(text[end - 1] as string)) end--
    return text.slice(0, end)
  }

  #write(text: string): void {
    this.#written += this.#gap + text
    this.#gap = ''
  }
}

// Asked first, since it is cheaper than to look a word up.
const isCapital = (text: string): boolean => {
  const code = text.charCodeAt(0)
  return code >= 65 && code <= 90
}

/**
 * Whether what varies goes on over what stands from here to there, in single characters: punctuation of lists and of the parts of a value, but
 * not the end of a sentence or a clause.
 */
export function isJoint(text: ArrayLike<string>, from = 0, to = text.length): boolean {
  for (let i = from; i < to; i++) {
    if (!JOINTS.has(text[i] as string)) return false
    if (i + 1 < to && text[i + 1] === ' ' && CLAUSE_ENDS.has(text[i] as string)) return false
  }
  return true
}

const JOINTS = new Set(' ,:;|/.-+*')
const CLAUSE_ENDS = new Set('.:;')
