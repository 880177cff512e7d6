import { JsonBytes } from './json-bytes.ts'
import { writePlainObject } from './plain-object.ts'
import type { Redactor } from './redact.ts'
import type { Json, JsonObject } from './trace.ts'

/** Longest name of a skill, a step or an execution, in UTF-16 units; longer ones are cut and end in `…`. */
export const NAME_MAX_LENGTH = 255
/** Longest error message, in UTF-16 units. */
export const ERROR_MAX_LENGTH = 16_384
/** Most JSON text that the metadata of a trace may take, and the attributes of all its steps together, in UTF-16 units. */
export const METADATA_MAX_LENGTH = 65_536
/** How deep metadata and attributes may nest before the rest is replaced by `[too deep]`. */
export const DEPTH_MAX = 32

/** What stands where a secret was. */
export const REDACTED = '[redacted]'

/** What marks metadata or attributes that were cut: the length of the JSON text that was too long. */
export const TRUNCATED_KEY = 'stepwell.truncated'

// An escape in JSON text that Postgres refuses or could refuse: NUL, and halves of surrogate pairs.
const SUSPICIOUS_ESCAPE = /\\u(?:0000|[dD][89a-fA-F])/

/** Whether JSON text can hold what Postgres refuses. False positives are allowed: `cleanJson` looks closer. */
export const hasSuspiciousEscape = (jsonText: string): boolean => SUSPICIOUS_ESCAPE.test(jsonText)

/** Text that Postgres can store: NUL and lone surrogates become U+FFFD. Valid in JSON, refused by jsonb and text. */
export function cleanText(text: string): string {
  const whole = text.isWellFormed() ? text : text.toWellFormed()
  return whole.includes('\0') ? whole.replaceAll('\0', '\uFFFD') : whole
}

/** Cleaned text of at most `maxLength` UTF-16 units; what was cut ends in `…`. */
export function boundText(text: string, maxLength: number): string {
  // First the cut, then the cleaning: a pair that the cut splits is mended by it.
  return cleanText(
    text.length <= maxLength ? text : `${text.slice(0, maxLength - 1).replace(/[\uD800-\uDBFF]$/, '')}…`,
  )
}

/** The bounded text of whatever a caller passed where a text belongs. Never throws. */
export function textOf(value: unknown, maxLength = NAME_MAX_LENGTH): string {
  let text: string
  try {
    text = String(value)
  } catch {
    text = '[unreadable]'
  }
  return boundText(text, maxLength)
}

/** A parsed JSON value with every text in it cleaned, keys too. */
export function cleanJson<T extends Json>(value: T): T {
  if (typeof value === 'string') return cleanText(value) as T
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(cleanJson) as T
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [cleanText(key), cleanJson(item)]),
  ) as T
}

/**
 * The JSON text of whatever a user passes as metadata or attributes. Never throws. Plain JSON passes as JSON.stringify
 * would write it; the rest becomes the nearest thing that JSON and Postgres can hold: BigInt, NaN, Infinity, symbols and
 * functions as text; Date as ISO text; Map as object; Set as array; Error as {name, message}; bytes as `[n bytes]`;
 * a circle as `[circular]`; a getter or `toJSON` that throws as `[unreadable]`; NUL and lone surrogates as U+FFFD.
 * Over `maxLength` the properties that do not fit are left out and `stepwell.truncated` tells the whole length. The work
 * is bounded too: of a property that cannot fit not all is read (`[too large]`), and then that length is a lower bound.
 * With a redactor secrets are taken out, before anything is cut.
 */
export function encodeObject(value: unknown, maxLength = METADATA_MAX_LENGTH, redactor?: Redactor): string {
  const out = borrowBytes()
  const text =
    writePlainObject(out, value, maxLength, redactor, REDACTED) === undefined
      ? encodeDeep(value, maxLength, redactor)
      : out.text()
  spare = out
  return text
}

/**
 * Writes the same to `out`, and gives what it says as an object of its own: of a plain one in a tenth of the time that parsing it takes.
 * Getters, `toJSON` and redactors may run meanwhile: nobody else may write to `out`.
 */
export function writeAndCopy(
  out: JsonBytes,
  value: unknown,
  maxLength: number,
  redactor: Redactor | undefined,
): JsonObject {
  const begin = out.length
  const isVerbatim = writePlainObject(out, value, maxLength, redactor, REDACTED)
  if (isVerbatim === undefined) {
    const text = encodeDeep(value, maxLength, redactor)
    out.json(text)
    return JSON.parse(text)
  }
  try {
    if (isVerbatim) return copyOf(value as JsonObject)
  } catch {
    // A getter that throws at the second time.
  }
  return JSON.parse(out.text(begin))
}

function copyOf(value: JsonObject): JsonObject {
  const copy = { ...value }
  for (const key in copy) {
    const item = copy[key] as Json
    if (typeof item === 'object' && item !== null) copy[key] = copyOfItem(item)
  }
  return copy
}

function copyOfItem(item: Json): Json {
  if (typeof item !== 'object' || item === null) return item
  return Array.isArray(item) ? item.map(copyOfItem) : copyOf(item)
}

/** Both as values: the text, and what it says. */
export function encodeAndCopy(
  value: unknown,
  maxLength: number,
  redactor: Redactor | undefined,
): { text: string; copy: JsonObject } {
  const out = borrowBytes()
  const copy = writeAndCopy(out, value, maxLength, redactor)
  const text = out.text()
  spare = out
  return { text, copy }
}

/** To write to and to give back by leaving it here: what is asked for meanwhile, by a getter of what is encoded, gets another. */
let spare: JsonBytes | undefined

function borrowBytes(): JsonBytes {
  const out = spare ?? new JsonBytes()
  spare = undefined
  out.clear()
  return out
}

function encodeDeep(value: unknown, maxLength: number, redactor: Redactor | undefined): string {
  if (value === undefined || value === null) return '{}'
  const walk = {
    path: new Set<object>(),
    left: maxLength,
    total: 4 * maxLength,
    maxLength,
    redactor,
    key: '',
  }
  const plain = toPlain(value, 0, walk)
  const object: JsonObject =
    typeof plain === 'object' && plain !== null && !Array.isArray(plain) ? plain : { value: plain }
  let wholeLength = maxLength + 1
  try {
    const text = JSON.stringify(object)
    if (text.length <= maxLength) return text
    wholeLength = text.length
  } catch {
    // Longer than a text can be (https://developer.mozilla.org/en-US/docs/Web/JavaScript/Reference/Errors/Invalid_string_length).
  }
  return truncateObject(object, wholeLength, maxLength)
}

function truncateObject(object: JsonObject, wholeLength: number, maxLength: number): string {
  const mark = `"${TRUNCATED_KEY}":${wholeLength}`
  let text = '{'
  for (const [key, item] of Object.entries(object)) {
    const property = `${JSON.stringify(key)}:${JSON.stringify(item)},`
    if (text.length + property.length + mark.length + 1 <= maxLength) text += property
  }
  return `${text}${mark}}`
}

/**
 * The way through a user's value. Objects that lead to each other in many ways would otherwise be written once for each
 * way: 2^31 times for 31 objects with two references to the next each.
 */
interface Walk {
  /** The objects that lead to where we are. */
  path: Set<object>
  /** Units that may still be read: one a member and one a character, so never more than its JSON text has. */
  left: number
  /** Of those, for all properties of the outermost object together; `maxLength` for each, and in any case a few. */
  total: number
  maxLength: number
  redactor: Redactor | undefined
  /** What the value stands under; '' in lists. */
  key: string
}

const PROPERTY_MIN_UNITS = 1_024
const MOST_TEXT = 16 * METADATA_MAX_LENGTH

function toPlain(value: unknown, depth: number, walk: Walk): Json {
  switch (typeof value) {
    case 'string':
      walk.left -= value.length
      return textToPlain(value, walk)
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'boolean':
      return value
    case 'object':
      return value === null ? null : objectToPlain(value, depth, walk)
    case 'undefined':
      return null
    case 'function':
      return '[function]'
    default:
      return textToPlain(String(value), walk)
  }
}

function textToPlain(text: string, { redactor, key }: Walk): string {
  // What is too long for the whole will not fit: it is not carried along, nor cleaned.
  const some = text.length > MOST_TEXT ? text.slice(0, MOST_TEXT) : text
  return cleanText(redactor === undefined ? some : redactor.text(some, key))
}

function objectToPlain(value: object, depth: number, walk: Walk): Json {
  if (walk.path.has(value)) return '[circular]'
  if (depth >= DEPTH_MAX) return '[too deep]'
  walk.path.add(value)
  try {
    return convert(value, depth + 1, walk)
  } catch {
    return '[unreadable]'
  } finally {
    walk.path.delete(value)
  }
}

function convert(value: object, depth: number, walk: Walk): Json {
  if (Array.isArray(value)) return itemsToPlain(value, depth, walk)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
  if (value instanceof Map) return entriesToPlain(value, depth, walk)
  if (value instanceof Set) return itemsToPlain(value, depth, walk)
  if (value instanceof Error)
    return { name: textToPlain(String(value.name), walk), message: textToPlain(String(value.message), walk) }
  if ('toJSON' in value && typeof value.toJSON === 'function') return toPlain(value.toJSON(), depth, walk)
  if (value instanceof RegExp || value instanceof URLSearchParams) return textToPlain(String(value), walk)
  return entriesToPlain(properties(value), depth, walk)
}

function* properties(value: object): Generator<[string, unknown]> {
  for (const key of Object.keys(value)) yield [key, readProperty(value, key)]
}

function readProperty(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return '[unreadable]'
  }
}

function itemsToPlain(items: Iterable<unknown>, depth: number, walk: Walk): Json[] {
  const plain: Json[] = []
  for (const item of items) {
    if (walk.left <= 0) {
      plain.push('[too large]')
      break
    }
    walk.left -= 1
    walk.key = ''
    plain.push(toPlain(item, depth, walk))
  }
  return plain
}

function entriesToPlain(entries: Iterable<[unknown, unknown]>, depth: number, walk: Walk): JsonObject {
  const plain: [string, Json][] = []
  for (const [key, item] of entries) {
    if (depth === 1) walk.left = Math.max(Math.min(walk.maxLength, walk.total), PROPERTY_MIN_UNITS)
    if (walk.left <= 0) {
      plain.push(['…', '[too large]'])
      break
    }
    const before = walk.left
    if (item !== undefined) {
      walk.key = ''
      const name = textToPlain(String(key), walk)
      walk.left -= 1 + name.length
      walk.key = name
      plain.push([name, walk.redactor?.isSecretKey(name) ? REDACTED : toPlain(item, depth, walk)])
    }
    if (depth === 1) walk.total -= before - walk.left
  }
  // fromEntries defines properties, so a key `__proto__` stays a key.
  return Object.fromEntries(plain)
}

/** JSON text with the keys of every object sorted: equal values have equal text. */
export function canonicalJson(value: Json | undefined): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(',')}}`
}
