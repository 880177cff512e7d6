import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Round } from './prefix-filter.ts'
import type { Tables } from './tables.ts'

/** What the server knows of words, and how it counts common ones. */
export interface WordKnowledge {
  /** How many signatures there are, about; 0 where the server has not counted. */
  signatures: number
  /** Which share of the signatures has a key, of the most common ones. */
  shares: ReadonlyMap<number, number>
  /** Whether it has the functions of the extension `intarray`. */
  hasIntarray: boolean
}

/** The signatures that are this similar. */
export interface Likeness {
  similarity: number
  count: number
  /** An array of `bigint`, as Postgres writes it. */
  signatures: string
  /** Their newest trace started before that: ISO 8601, or nothing is known. */
  seenUntil: string | undefined
}

/** More words than that are counted in another way: each is a term of the statement. */
const TERMS_MAX = 64
/** Asking takes 3 ms, and the server itself looks at a table every minute at most (autovacuum_naptime). */
const KNOWN_FOR_MS = 60_000

/**
 * Keeps in mind what the server knows of words. Its statistics may be old, or not there yet: they tell which way is short, not what is found.
 */
export class WordStatistics {
  /** The table of signatures, with its schema. */
  readonly table: string
  #known: WordKnowledge | undefined
  #untilMs = 0

  constructor(table: string) {
    this.table = table
  }

  async read(trx: Transaction<Tables>): Promise<WordKnowledge> {
    if (this.#known === undefined || performance.now() > this.#untilMs) {
      this.#known = await askForWords(trx, this.table)
      this.#untilMs = performance.now() + KNOWN_FOR_MS
    }
    return this.#known
  }
}

async function askForWords(trx: Transaction<Tables>, table: string): Promise<WordKnowledge> {
  const { rows } = await sql<{
    signatures: number
    intarray: number
    words: string | null
    shares: string | null
  }>`
    select greatest(c.reltuples, 0) as signatures, num_nonnulls(to_regprocedure('icount(integer[])'), to_regoperator('&(integer[],integer[])')) as intarray,
           (s.most_common_elems::text::integer[])[:1000]::text as words, s.most_common_elem_freqs[:1000]::text as shares
      from (values (to_regclass(${table}))) as given (oid)
      left join pg_class c on c.oid = given.oid
      left join pg_namespace n on n.oid = c.relnamespace
      left join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = 'words'`.execute(
    trx,
  )
  const { signatures, intarray, words, shares } = rows[0] as (typeof rows)[0]
  const [hashes, known] = [words, shares].map((list) => list?.slice(1, -1).split(',').map(Number) ?? [])
  return {
    signatures: Number(signatures),
    shares: new Map(hashes?.map((hash, i) => [hash, known?.[i] ?? 0])),
    hasIntarray: Number(intarray) === 2,
  }
}

/** What one round looks for. */
export interface SignatureSearch {
  /** How many different words, and their hashes. */
  wordCount: number
  hashes: readonly number[]
  hasIntarray: boolean
  since: Date | undefined
  /** Signatures that are left out. */
  without: readonly string[]
  /** Only these, as Postgres writes an array of them: all that there are in the window. */
  among: string | undefined
}

/**
 * The signatures of a round by their similarity, the most similar first. The similarity is computed from hashes, so it is what it is or, where
 * words share a hash, more. The index is read as the server's own operator class has it: that of `intarray` would hide it.
 */
export async function findSignatures(
  trx: Transaction<Tables>,
  table: string,
  round: Round,
  { wordCount, hashes, hasIntarray, since, without, among }: SignatureSearch,
): Promise<Likeness[]> {
  const shared = sql`least(${sharedOf(hashes, hasIntarray)} + ${sql.lit(wordCount - hashes.length)}, word_count, ${sql.lit(wordCount)})`
  const { rows } = await sql<{
    similarity: number
    count: string
    signatures: string
    seen_until: string
  }>`
    select similarity, count(*) as count, array_agg(signature)::text as signatures,
           to_char(max(seen_until) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as seen_until
      from (select signature, seen_until, shared / (${sql.lit(wordCount)} + word_count - shared) as similarity
              from (select signature, seen_until, word_count, ${shared}::float8 as shared
                      from ${sql.table(table)}
                     where words operator(pg_catalog.&&) ${arrayOf(round.keys)}
                       and word_count between ${sql.lit(round.wordsMin)} and ${sql.lit(round.wordsMax)}
                       ${since === undefined ? sql`` : sql`and seen_until >= ${since}`}
                       ${without.length === 0 ? sql`` : sql`and signature <> all(${without}::bigint[])`}
                       ${among === undefined ? sql`` : sql`and (signature in (select unnest(${among}::bigint[]))) is true`}
                    offset 0) counted
            offset 0) scored
     where similarity >= ${round.least}::float8 and similarity < ${round.below}::float8
     group by similarity
     order by similarity desc`.execute(trx)
  return rows.map(({ similarity, count, signatures, seen_until }) => ({
    similarity: Number(similarity),
    count: Number(count),
    signatures,
    seenUntil: seen_until,
  }))
}

/** How many of the hashes a signature has. 0.3 µs with `intarray`, 0.1 µs a word without; of many words, 5 µs. */
export function sharedOf(hashes: readonly number[], hasIntarray: boolean): RawBuilder<number> {
  if (hashes.length === 0) return sql`0`
  // Sorted, or `intarray` sorts them for each signature.
  const array = arrayOf(hashes.toSorted((a, b) => a - b))
  if (hasIntarray) return sql`icount(words & ${array})`
  if (hashes.length > TERMS_MAX)
    return sql`(select count(*)::integer from unnest(words) as word where word = any(${array}))`
  return sql.raw(hashes.map((hash) => `(${hash} = any(words))::integer`).join(' + '))
}

const arrayOf = (numbers: readonly number[]): RawBuilder<number[]> =>
  sql.raw(`'{${numbers.join()}}'::integer[]`)
