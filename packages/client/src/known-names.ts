/** A name that was met before, as it stands in a step, commas around it; as bytes where it is ASCII. */
export interface KnownName {
  readonly name: string
  readonly text: string
  readonly bytes: Uint8Array | undefined
  /** The one that was asked for after it, the last time. */
  next: KnownName | undefined
}

const NAMES_MAX = 1_000
const names = new Map<string, KnownName>()
/** The one that was asked for last: mostly it is asked for again, or its next one is. */
let latest = encoded('unnamed')

/**
 * What is known of a name. Programs use few names, use them often and in the same order: what the one before says of this one is right nearly
 * always, and saves the index, which for names that were put together just now takes a twentieth of a short run.
 */
export function knownName(name: string): KnownName | undefined {
  if (name === latest.name) return latest
  const { next } = latest
  if (next !== undefined && name === next.name) {
    latest = next
    return next
  }
  const known = names.get(name)
  if (known !== undefined) follow(known)
  return known
}

/** The same, learned if it is new. It MUST be clean. */
export function learnedName(name: string): KnownName {
  const known = knownName(name)
  if (known !== undefined) return known
  // Nothing leads to those that are forgotten: the new one is the latest, and has no next.
  if (names.size >= NAMES_MAX) names.clear()
  const learned = encoded(name)
  names.set(name, learned)
  follow(learned)
  return learned
}

function follow(known: KnownName): void {
  latest.next = known
  latest = known
}

function encoded(name: string): KnownName {
  const text = `,${JSON.stringify(name)},`
  const bytes = Buffer.from(text)
  return { name, text, bytes: bytes.length === text.length ? bytes : undefined, next: undefined }
}
