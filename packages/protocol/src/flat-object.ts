import type { Redactor } from './redact.ts'

/** A key as it is written, first in its object or after others, and whether what stands under it goes whole. */
interface KnownKey {
  first: string
  next: string
  isSecret: boolean
}

const KEYS_MAX = 1_000
const KEY_MAX_LENGTH = 256
const withoutRedactor = {}
/** By redactor, then by key. Programs use few keys and use them often. */
const keysOf = new WeakMap<object, Map<string, KnownKey>>()

/** Undefined of a key that needs cleaning. */
function learnKey(
  key: string,
  known: Map<string, KnownKey>,
  redactor: Redactor | undefined,
): KnownKey | undefined {
  if (!isClean(key) || (redactor !== undefined && redactor.text(key) !== key)) return undefined
  const first = `{${JSON.stringify(key)}:`
  const learned = { first, next: `,${first.slice(1)}`, isSecret: redactor?.isSecretKey(key) ?? false }
  if (known.size >= KEYS_MAX) known.clear()
  if (key.length <= KEY_MAX_LENGTH) known.set(key, learned)
  return learned
}

const isClean = (text: string): boolean => text.isWellFormed() && !text.includes('\0')

/**
 * What `encodeObject` makes of a plain object whose values are texts, finite numbers, booleans and null, in a tenth of the time:
 * what programs pass as attributes, step for step. Undefined where the value is anything else, is too long, or must be cleaned.
 */
export function flatObjectText(
  value: unknown,
  maxLength: number,
  redactor: Redactor | undefined,
  redacted: string,
): string | undefined {
  try {
    if (typeof value !== 'object' || value === null || !isPlain(value)) return undefined
    const keys = Object.keys(value)
    if (keys.length > maxLength) return undefined
    let known = keysOf.get(redactor ?? withoutRedactor)
    if (known === undefined) {
      known = new Map()
      keysOf.set(redactor ?? withoutRedactor, known)
    }
    let text = ''
    for (const key of keys) {
      const item = (value as Record<string, unknown>)[key]
      if (item === undefined) continue
      const name = known.get(key) ?? learnKey(key, known, redactor)
      if (name === undefined) return undefined
      const itemText = name.isSecret ? `"${redacted}"` : flatText(item, key, maxLength, redactor)
      if (itemText === undefined) return undefined
      text = text === '' ? name.first + itemText : text + name.next + itemText
      if (text.length >= maxLength) return undefined
    }
    return text === '' ? '{}' : `${text}}`
  } catch {
    // A getter that throws, or what only looks like an object.
    return undefined
  }
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && !('toJSON' in value)
}

function flatText(
  item: unknown,
  key: string,
  maxLength: number,
  redactor: Redactor | undefined,
): string | undefined {
  switch (typeof item) {
    case 'string':
      if (item.length > maxLength) return undefined
      return quoted(redactor === undefined ? item : redactor.text(item, key))
    case 'number':
      return Number.isFinite(item) ? `${item}` : undefined
    case 'boolean':
      return item ? 'true' : 'false'
    default:
      return item === null ? 'null' : undefined
  }
}

// What JSON writes as an escape (control characters, quotes, backslashes) and halves of pairs: what must be cleaned is among it.
// Asked first, a text takes half the time.
const ESCAPED = /[^ !#-[\]-\ud7ff\ue000-\uffff]/

function quoted(text: string): string | undefined {
  if (!ESCAPED.test(text)) return `"${text}"`
  return isClean(text) ? JSON.stringify(text) : undefined
}
