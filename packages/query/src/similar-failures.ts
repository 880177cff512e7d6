import { wordHashes, wordsOf } from '@stepwell/protocol/failures'
import { type Kysely, sql, type Transaction } from 'kysely'
import { type FailureNote, groupIdText, notesOf } from './failure-groups.ts'
import { lookBack } from './look-back.ts'
import { type FailureRow, newestIn, newestWithout, signaturesIn } from './newest-failures.ts'
import { roundsFor } from './prefix-filter.ts'
import { findSignatures, type Likeness, type WordStatistics } from './similar-signatures.ts'
import { jaccard } from './similarity.ts'
import type { Tables } from './tables.ts'

/** A failed trace whose message is like the one asked for. */
export interface SimilarFailure {
  traceId: string
  /** Jaccard similarity of the two sets of words, 0 to 1. */
  similarityScore: number
  errorMessage: string
  skillName: string
  startedAt: Date
  executionId?: string
  /** The group that it belongs to. */
  groupId?: string
  /** What people wrote to that group, the newest first. */
  notes: FailureNote[]
}

/** What is looked for. */
export interface SimilarRequest {
  pattern: string
  limit: number
  threshold: number
  skill?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
}

/** Where it is looked. */
export interface SimilarTables {
  /** The name of a table, with its schema. */
  named: (table: string) => string
  words: Pick<WordStatistics, 'table' | 'read'>
}

/** What the planner must not do: all that is looked up are some rows by their keys. */
const SWITCHED_OFF = ['enable_seqscan', 'enable_mergejoin', 'enable_hashjoin', 'jit']

/** Before a round that looks at more signatures than that, the newest failures are looked at: so many, and as many for each that is wanted. */
const LOOK_BACK = 500
const LOOK_BACK_EACH = 15
/** How many times as many the next time. */
const BACK_GROWTH = 16
/** Where the newest did not suffice, and the window has no more failures than that, only what these say is looked for. */
const FEW = 20_000
/** Similarities are fractions of two numbers up to 16,384: two that differ differ by more. */
const NO_DIFFERENCE = 1e-9

/**
 * Exact, over all failures that have a signature (docs/adr/0008-similar-failures.md). Similarity belongs to signatures, of which there is one a
 * set of words; they are found in rounds, from high similarity to low, until their traces are enough. Before a dear round the newest failures are looked
 * at, `back` of them: if they have as many as are wanted, only more similar ones are left to find. All in one snapshot.
 */
export function findSimilar(
  db: Kysely<Tables>,
  tables: SimilarTables,
  request: SimilarRequest,
  back = LOOK_BACK + LOOK_BACK_EACH * request.limit,
): Promise<SimilarFailure[]> {
  const words = wordsOf(request.pattern)
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      // Without: from a tenth of the signatures on all are read from end to end, 3 µs each, be it to join them, and statements are compiled first.
      await sql`select ${sql.join(SWITCHED_OFF.map((name) => sql`set_config(${name}, 'off', true)`))}`.execute(
        trx,
      )
      // Signatures of which words share a hash with others, and how similar they are.
      const corrected = new Map<string, number>()
      for (;;) {
        const rows = await rank(trx, tables, request, words, corrected, back)
        const before = corrected.size
        for (const { error_message, error_signature, score } of rows) {
          const similarity = jaccard(words, wordsOf(error_message))
          if (similarity !== Number(score)) corrected.set(error_signature, similarity)
        }
        if (corrected.size === before) return withGroups(trx, tables.named, rows)
      }
    })
}

async function rank(
  trx: Transaction<Tables>,
  tables: SimilarTables,
  { limit, threshold, ...window }: SimilarRequest,
  words: ReadonlySet<string>,
  corrected: ReadonlyMap<string, number>,
  back: number,
): Promise<FailureRow[]> {
  const table = sql.table(tables.named('execution_traces'))
  const hashes = wordHashes(words)
  const { signatures, shares, hasIntarray } = await tables.words.read(trx)
  const known = { wordCount: words.size, hashes, hasIntarray }
  const search = { ...known, since: window.since, without: [...corrected.keys()] }
  /** What the failures of the window say: undefined as long as it is not known, or if they are many. */
  let among: string | undefined
  let isAsked = false
  const newestOf = newestIn(trx, table, window)
  const found: FailureRow[] = []
  const passed: Likeness[] = []
  /** The most similar of the newest failures: as many as are wanted, the least similar of them the newest of all that are so similar. */
  let newest: FailureRow[] = []
  let rounds = roundsFor(words.size, hashes, threshold, shares)
  let most = back
  for (let next = rounds.next(); !next.done; next = rounds.next()) {
    const round = next.value
    if (round.looked * signatures > most) {
      const of = { ...known, corrected, threshold, limit }
      const { rows, areAll } = await lookBack(trx, table, sql.table(tables.words.table), of, window, most)
      if (areAll) return rows
      most *= BACK_GROWTH
      if (rows.length === limit) newest = rows
      else if (window.skill !== undefined && !isAsked) {
        // A skill that never failed like this, while others did, would have all messages of the template compared, and all its failures passed.
        isAsked = true
        among = await signaturesIn(trx, table, window, FEW)
        if (among !== undefined) most = Number.POSITIVE_INFINITY
      }
      const least = Math.max(threshold, Number(newest.at(-1)?.score ?? 0) + NO_DIFFERENCE)
      // Of what is known to be there all that is similar enough is found at once.
      rounds = roundsFor(
        words.size,
        hashes,
        least,
        shares,
        round.below,
        among === undefined ? undefined : Number.POSITIVE_INFINITY,
      )
      continue
    }
    const alike = await findSignatures(trx, tables.words.table, round, { ...search, among })
    for (const [signature, similarity] of corrected)
      if (similarity > 0 && similarity >= round.least && similarity < round.below)
        alike.push({ similarity, count: 1, signatures: `{${signature}}`, seenUntil: undefined })
    alike.sort((a, b) => b.similarity - a.similarity)
    found.push(...(await newestOf(alike, limit - found.length)))
    if (found.length >= limit) return found
    passed.push(...alike)
  }
  if (newest.length > 0) {
    const least = newest.at(-1)?.score
    return [...found, ...newest.filter(({ score }) => score === least).slice(0, limit - found.length)]
  }
  if (threshold > 0) return found
  const all = `{${passed.map(({ signatures }) => signatures.slice(1, -1)).join()}}`
  return [...found, ...(await newestWithout(trx, table, all, window, limit - found.length))]
}

async function withGroups(
  trx: Transaction<Tables>,
  named: (table: string) => string,
  rows: readonly FailureRow[],
): Promise<SimilarFailure[]> {
  if (rows.length === 0) return []
  const patterns = [...new Set(rows.map((row) => row.failure_pattern))]
  const { rows: known } = await sql<{ pattern_id: string; group_id: string }>`
    select pattern_id, group_id from ${sql.table(named('failure_patterns'))} where pattern_id = any(${patterns}::bigint[])`.execute(
    trx,
  )
  const groups = new Map(known.map(({ pattern_id, group_id }) => [pattern_id, group_id]))
  const notes = await notesOf(trx, named, [...new Set(groups.values())])
  return rows.map((row) => {
    const group = groups.get(row.failure_pattern ?? '')
    return {
      traceId: row.trace_id,
      similarityScore: Number(row.score),
      errorMessage: row.error_message,
      skillName: row.skill_name,
      startedAt: new Date(Number(row.started_ms)),
      ...(row.execution_id === null ? {} : { executionId: row.execution_id }),
      ...(group === undefined ? {} : { groupId: groupIdText(group) }),
      notes: notes.get(group ?? '') ?? [],
    }
  })
}
