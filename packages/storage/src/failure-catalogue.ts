import { PATTERN_VERSION } from '@stepwell/protocol/failures'
import { sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import type { MessageMarks } from './failure-marks.ts'

/** A message that failed at this time. */
export interface Occurrence {
  marks: MessageMarks
  startedAtMs: number
}

const HOUR_MS = 3_600_000
/** What is older is always written: only what is recent may be taken for known, for the old is cleared away after a week at the earliest. */
const TRUSTED_MS = 24 * HOUR_MS
/** Signatures, and patterns, that a writer keeps in mind; 100 bytes each. */
const KNOWN_MAX = 20_000

interface Span {
  fromMs: number
  untilMs: number
}

/**
 * The tables of what messages were seen: each set of words and each pattern once. A reader that sees a trace must see them, so they are
 * written and committed before it. `seen_until` is never before the newest trace, and at most an hour behind it: so a message that
 * comes all the time costs one write an hour.
 */
export class FailureCatalogue {
  readonly #database: Database
  readonly #signatures = new Map<bigint, Span>()
  readonly #patterns = new Map<bigint, Span>()

  constructor(database: Database) {
    this.#database = database
  }

  /** Resolves when all of them are there, committed. Idempotent; any number of writers at once. Throws what `pg` throws. */
  async enter(occurrences: readonly Occurrence[], nowMs: number): Promise<void> {
    const spans = occurrences.map(spanOf)
    const recentMs = nowMs - TRUSTED_MS
    const signatures = unknownOf(occurrences, spans, recentMs, this.#signatures, (marks) => marks.signature)
    const patterns = unknownOf(occurrences, spans, recentMs, this.#patterns, (marks) => marks.patternId)
    if (signatures.size === 0 && patterns.size === 0) return
    await writeCatalogue(this.#database, signatures, patterns)
    remember(this.#signatures, signatures)
    remember(this.#patterns, patterns)
  }
}

/** What is to be written under one key: the marks, and the span of all its occurrences. */
interface Entry {
  marks: MessageMarks
  span: Span
}

const spanOf = ({ startedAtMs }: Occurrence): Span => ({
  fromMs: startedAtMs,
  untilMs: (Math.floor(startedAtMs / HOUR_MS) + 1) * HOUR_MS,
})

function unknownOf(
  occurrences: readonly Occurrence[],
  spans: readonly Span[],
  recentMs: number,
  known: Map<bigint, Span>,
  keyOf: (marks: MessageMarks) => bigint,
): Map<bigint, Entry> {
  const unknown = new Map<bigint, Entry>()
  occurrences.forEach(({ marks }, i) => {
    const span = spans[i] as Span
    const key = keyOf(marks)
    const there = known.get(key)
    if (there && span.fromMs > recentMs && there.fromMs <= span.fromMs && there.untilMs >= span.untilMs)
      return
    const entry = unknown.get(key)
    if (entry === undefined) unknown.set(key, { marks, span })
    else entry.span = joined(entry.span, span)
  })
  return unknown
}

const joined = (a: Span, b: Span): Span => ({
  fromMs: Math.min(a.fromMs, b.fromMs),
  untilMs: Math.max(a.untilMs, b.untilMs),
})

function remember(known: Map<bigint, Span>, written: ReadonlyMap<bigint, Entry>): void {
  for (const [key, { span }] of written) {
    const before = known.get(key)
    known.delete(key)
    known.set(key, before === undefined ? span : joined(before, span))
  }
  for (const key of known.keys()) {
    if (known.size <= KNOWN_MAX) break
    known.delete(key)
  }
}

const iso = (ms: number): string => new Date(ms).toISOString()

// Sorted by key: two writers that lock the same rows in different orders deadlock.
const inOrder = (entries: ReadonlyMap<bigint, Entry>): [bigint, Entry][] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))

/** The words of each travel as text, for arrays of arrays must be of one length. */
async function writeCatalogue(
  { db, schema }: Database,
  signatures: ReadonlyMap<bigint, Entry>,
  patterns: ReadonlyMap<bigint, Entry>,
): Promise<void> {
  const some = inOrder(signatures)
  const others = inOrder(patterns)
  if (some.length > 0)
    await sql`insert into ${sql.table(qualified(schema, 'failure_signatures'))} as s (signature, seen_until, word_count, words)
      select signature, seen_until, word_count, words::integer[]
        from unnest(${some.map(([key]) => key)}::bigint[], ${some.map(([, { span }]) => iso(span.untilMs))}::timestamptz[],
                    ${some.map(([, { marks }]) => marks.wordCount)}::integer[], ${some.map(([, { marks }]) => `{${marks.words.join()}}`)}::text[])
          as new (signature, seen_until, word_count, words)
      on conflict (signature) do update set seen_until = excluded.seen_until where s.seen_until < excluded.seen_until`.execute(
      db,
    )
  if (others.length > 0)
    await sql`insert into ${sql.table(qualified(schema, 'failure_patterns'))} as p (pattern_id, group_id, first_seen, seen_until, pattern_version, pattern)
      select pattern_id, pattern_id, first_seen, seen_until, ${PATTERN_VERSION}::integer, pattern
        from unnest(${others.map(([key]) => key)}::bigint[], ${others.map(([, { span }]) => iso(span.fromMs))}::timestamptz[],
                    ${others.map(([, { span }]) => iso(span.untilMs))}::timestamptz[], ${others.map(([, { marks }]) => marks.pattern)}::text[])
          as new (pattern_id, first_seen, seen_until, pattern)
      on conflict (pattern_id) do update set first_seen = least(p.first_seen, excluded.first_seen),
                                             seen_until = greatest(p.seen_until, excluded.seen_until)
       where p.first_seen > excluded.first_seen or p.seen_until < excluded.seen_until`.execute(db)
}
