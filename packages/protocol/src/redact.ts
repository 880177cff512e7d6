import { InvalidInputError } from './errors.ts'
import { REDACTED } from './plain-json.ts'
import { hasFormHint, hasName, hasWordHint } from './secret-hints.ts'

/** What is taken out of metadata, attributes and error messages before they leave the process. */
export interface RedactOptions {
  /** Whether the usual secrets are found too (docs/REDACTION.md). Default: true. */
  defaults?: boolean
  /** Keys whose values go whole: a name (in any case and spelling: `apiKey` is `api_key` is `API-Key`), or a pattern for the key. */
  keys?: readonly (string | RegExp)[]
  /** Patterns of texts: each match becomes `[redacted]`. They run on every text, so they SHOULD take linear time. */
  values?: readonly RegExp[]
  /**
   * Asked for each text last, with the key it stands under ('' in lists and error messages), after the rules above: gives the text
   * that is kept. What it throws, or gives that is no text, makes the text `[redacted]`.
   */
  replace?: (text: string, key: string) => string
}

/** Takes secrets out. Never throws: what cannot be judged is taken out whole. */
export interface Redactor {
  /** Whether what stands under this key goes whole. */
  isSecretKey(key: string): boolean
  /** The text without its secrets. `key`: what it stands under. */
  text(text: string, key?: string): string
  /** Whether it makes the same of the same for ever: it has no `replace`, which may learn. */
  readonly isConstant: boolean
  /** Whether it finds nothing in texts but the usual secrets. */
  readonly isUsual: boolean
}

/** Most UTF-16 units of an error message that are looked at; the rest is cut off before. It keeps 16 KiB of it. */
const MESSAGE_MAX_LENGTH = 65_536

// Words of keys (`apiKey`, `api-key` and `API_KEY` have the words api, key) that stand for a secret wherever they are.
const SECRET_WORDS = new Set(
  'password passwords passwd passphrase passcode pwd secret secrets credential credentials authorization cookie cookies apikey accesskey secretkey privatekey authtoken accesstoken refreshtoken bearer jwt ssn cvv cvc otp'.split(
    ' ',
  ),
)
// Those that do at the end of a key: `token` and `auth_token`, not `token_count`; never `tokens`.
const SECRET_LAST_WORDS = new Set(['token', 'auth', 'pass'])
// Pairs of neighbours.
const SECRET_PAIRS = new Set(
  'api key,access key,secret key,private key,signing key,encryption key,ssh key,master key,session key,account key,shared key,session id,card number,credit card,connection string,token value,token secret'.split(
    ',',
  ),
)

/** The words of a key: `OPENAI_API_KEY`, `openaiApiKey` → openai, api, key. */
function wordsOf(key: string): string[] {
  return key
    .slice(0, 256)
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '')
}

function isUsualSecret(words: readonly string[]): boolean {
  const last = words.at(-1)
  return (
    words.some((word, i) => SECRET_WORDS.has(word) || SECRET_PAIRS.has(`${word} ${words[i + 1]}`)) ||
    (last !== undefined && (SECRET_LAST_WORDS.has(last) || /(?:password|passwd|secret|apikey)$/.test(last)))
  )
}

// Each quantifier is bounded, or cannot match where the next part begins: the time is linear in the text.
const TOKEN_FORMATS: readonly RegExp[] = [
  // A JWT, or any base64 of JSON. Without asking for its dot: then each run of letters is looked at once.
  /eyJ[\w-]{6,}(?:\.[\w-]*){0,4}/g,
  /\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b/g,
  /\b(?:gh[opsur]_|github_pat_|glpat-|npm_|hf_|xox[a-z]-|xapp-|[rs]k_(?:live|test)_|whsec_|dop_v1_|shp[a-z]{2}_|pypi-|lin_api_)[\w-]{10,}/g,
  /\bsk-[\w-]{16,}/g,
  /\bAIza[\w-]{30,}/g,
  /\bSG\.[\w-]{16,}\.[\w-]{16,}/g,
]
const SCHEME_CREDENTIALS = /\b(bearer|basic|digest|token)(\s{1,4})(?=[^\s,;'"]{0,512}[\d=])[\w.~+/=:-]{8,}/gi
// `password=…`, `"api_key": "…"`, `--token …`, `PGPASSWORD=…`: the name stays, the value goes, up to the end of its quotes.
const NAMED_SECRET =
  /((?:password|passwd|passphrase|pwd|secret|credential|authorization|cookie|(?:api|access|secret|private|signing|encryption|account|shared|auth)[_-]?key|token(?!s|iz))(?:[_-]?(?:key|value|hash|id))?\\?["']?\s{0,4}[=:]{1,3}>?\s{0,4})(?:(?:bearer|basic|digest|token)\s{1,4})?(\\?"(?:[^"\\]|\\[^"])*\\?"?|\\?'(?:[^'\\]|\\[^'])*\\?'?|[^\s"'&,;)}\]]+)/gi
const FLAGGED_SECRET =
  /(--?[a-z]{0,20}-?(?:password|passwd|passphrase|secret|token|(?:api|access|private|auth)-?key)\s{1,4})("[^"]*"?|'[^']*'?|[^\s"'-][^\s"']*)/gi

function withoutUsual(text: string): string {
  // In this order: of the two it is rarer.
  let clean = text.includes('@') && text.includes('://') ? withoutUserinfo(text) : text
  if (hasFormHint(text)) {
    if (clean.includes(KEY_BEGIN)) clean = withoutPrivateKeys(clean)
    for (const format of TOKEN_FORMATS) clean = clean.replace(format, REDACTED)
  }
  if (!hasWordHint(text)) return clean
  if (hasName(text)) clean = clean.replace(NAMED_SECRET, `$1${REDACTED}`)
  return clean.replace(FLAGGED_SECRET, `$1${REDACTED}`).replace(SCHEME_CREDENTIALS, `$1$2${REDACTED}`)
}

const KEY_BEGIN = '-----BEGIN '
const KEY_END = '-----END '

/** Private keys as PEM (RFC 7468), from their first line to the end of their last; of a text that is cut, all that follows. */
function withoutPrivateKeys(text: string): string {
  let clean = ''
  let from = 0
  for (let at = text.indexOf(KEY_BEGIN); at >= 0; at = text.indexOf(KEY_BEGIN, Math.max(from, at + 1))) {
    if (!text.slice(at, at + 60).includes('PRIVATE KEY')) continue
    const end = text.indexOf(KEY_END, at)
    const close = end < 0 ? -1 : text.indexOf('-----', end + KEY_END.length)
    clean += text.slice(from, at) + REDACTED
    from = close < 0 ? text.length : close + 5
  }
  return clean + text.slice(from)
}

/**
 * What stands before the @ of a URL (RFC 3986, section 3.2.1) goes, a user name too: many are tokens. Passwords that hold
 * a slash, a question mark or an @ themselves go whole.
 */
function withoutUserinfo(text: string): string {
  let clean = ''
  let from = 0
  for (let at = text.indexOf('://'); at >= 0; at = text.indexOf('://', Math.max(at + 3, from))) {
    const start = at + 3
    let end = start
    let authorityEnd = -1
    let lastAt = -1
    let isPort = true
    let colon = -1
    for (; end < text.length; end++) {
      const c = text.charCodeAt(end)
      // White space, quotes, angle brackets: no URL goes on there. The next URL of a list has userinfo of its own.
      if (c <= 32 || c === 34 || c === 39 || c === 60 || c === 62 || c === 96) break
      if (c === 58 && text.startsWith('://', end)) break
      if (c === 64) {
        if (authorityEnd < 0 || (colon >= 0 && !isPort)) lastAt = end
      } else if (authorityEnd < 0) {
        if (c === 47 || c === 63 || c === 35) authorityEnd = end
        else if (c === 58) {
          colon = end
          isPort = true
        } else if (colon >= 0 && (c < 48 || c > 57) && c !== 93) isPort = false
      }
    }
    if (lastAt < 0) continue
    clean += `${text.slice(from, start)}${REDACTED}`
    from = lastAt
  }
  return from === 0 ? text : clean + text.slice(from)
}

/** Makes a redactor; undefined for `false`. `true` and undefined: the usual secrets. Throws InvalidInputError for options that cannot be used. */
export function makeRedactor(given: boolean | RedactOptions | undefined): Redactor | undefined {
  if (given === false) return undefined
  const options = given === undefined || given === true ? {} : given
  checkOptions(options)
  const { defaults = true, replace } = options
  const names = new Set<string>()
  const patterns: RegExp[] = []
  for (const key of options.keys ?? []) {
    if (typeof key === 'string') names.add(wordsOf(key).join(''))
    else patterns.push(stateless(key))
  }
  const values = (options.values ?? []).map((pattern) => stateless(pattern, 'g'))
  // Programs use few keys and use them often.
  const known = new Map<string, boolean>()
  const judge = (key: string): boolean => {
    const words = wordsOf(key)
    return (
      (defaults && isUsualSecret(words)) ||
      names.has(words.join('')) ||
      patterns.some((pattern) => pattern.test(key))
    )
  }
  return {
    isConstant: replace === undefined,
    isUsual: values.length === 0 && replace === undefined,
    isSecretKey(key) {
      let secret = known.get(key)
      if (secret === undefined) {
        secret = judge(key)
        if (known.size >= 1_000) known.clear()
        if (key.length <= 256) known.set(key, secret)
      }
      return secret
    },
    text(text, key = '') {
      try {
        let clean = defaults ? withoutUsual(text) : text
        for (const pattern of values) clean = clean.replace(pattern, REDACTED)
        if (replace === undefined) return clean
        const kept: unknown = replace(clean, key)
        return typeof kept === 'string' ? kept : REDACTED
      } catch {
        return REDACTED
      }
    },
  }
}

/** An error message without secrets. One that is very long is cut at a space, so that no secret is cut in two and half of it stays. */
export function redactMessage(message: string, redactor: Redactor | undefined): string {
  if (redactor === undefined) return message
  if (message.length <= MESSAGE_MAX_LENGTH) return redactor.text(message)
  const cut = message.slice(0, MESSAGE_MAX_LENGTH)
  return `${redactor.text(cut.slice(0, Math.max(cut.lastIndexOf(' '), cut.lastIndexOf('\n'), 0)))}…`
}

function checkOptions(options: RedactOptions): void {
  const known = ['defaults', 'keys', 'values', 'replace']
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw wrong('true, false, or { keys, values, replace, defaults }')
  const odd = Object.keys(options).find((key) => !known.includes(key))
  if (odd !== undefined) throw wrong(`made of ${known.join(', ')}: there is no '${odd}'`)
  const { defaults, keys, values, replace } = options
  if (defaults !== undefined && typeof defaults !== 'boolean')
    throw wrong('given with defaults true or false')
  const isList = (list: unknown, isItem: (item: unknown) => boolean): boolean =>
    list === undefined || (Array.isArray(list) && list.every(isItem))
  const isPattern = (item: unknown): boolean => item instanceof RegExp
  if (!isList(keys, (item) => isPattern(item) || (typeof item === 'string' && wordsOf(item).length > 0)))
    throw wrong('given with keys as a list of names and patterns')
  if (!isList(values, isPattern)) throw wrong('given with values as a list of patterns')
  if (replace !== undefined && typeof replace !== 'function') throw wrong('given with replace as a function')
}

const wrong = (what: string): InvalidInputError => new InvalidInputError(`Option 'redact' must be ${what}`)

// A pattern with the flag g or y remembers where it was, and would miss what comes before.
function stateless(pattern: RegExp, add = ''): RegExp {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '') + add)
}
