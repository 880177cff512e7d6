// Brute force against the index: the same traces in the same order, whatever is asked, on a server with and without `intarray`, with
// and without statistics.
import { type Delta, newTraceId } from '@stepwell/protocol'
import { wordHash, wordsOf } from '@stepwell/protocol/failures'
import { type SimilarFailure, TraceQuery } from '@stepwell/query'
import { openDatabase, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openForReading } from '../src/database.ts'
import { findSimilar } from '../src/similar-failures.ts'
import { WordStatistics } from '../src/similar-signatures.ts'
import { jaccard } from '../src/similarity.ts'

interface Failure {
  traceId: string
  skill: string
  startedAtMs: number
  message: string
}

const DAY_MS = 86_400_000
const NOW = Date.now()
const SEED = 20_261_201
let database: TestDatabase
let pool: pg.Pool
let failures: Failure[]

/** Two words that have one hash. */
const twins = twinWords()
const WORDS = [
  ...'abcdefgh',
  'É',
  'Żółć',
  '接続',
  '😀',
  'Timeout',
  '17',
  '—',
  '"x"',
  '{1,2}',
  '\\N',
  ...twins,
]
const SPACES = [' ', '  ', '\t', '\n', '\u00a0', '\u3000']

/** Few words, and more messages than are looked up one by one that are equally like others. */
const message = fc.oneof(
  { weight: 6, arbitrary: text(fc.constantFrom(...WORDS), 7) },
  { weight: 6, arbitrary: fc.nat({ max: 400 }).map((n) => `call ${n} took too long`) },
  { weight: 1, arbitrary: fc.constantFrom('', '   ', '\n', 'x'.repeat(16_000)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: 100, max: 2_000 }), fc.nat({ max: 3 }))
      .map(([count, from]) => Array.from({ length: count }, (_, i) => `w${from + i}`).join(' ')),
  },
)

function text(word: fc.Arbitrary<string>, most: number): fc.Arbitrary<string> {
  return fc
    .array(fc.tuple(word, fc.constantFrom(...SPACES)), { maxLength: most })
    .map((parts) => parts.flat().join(''))
}

function twinWords(): [string, string] {
  const seen = new Map<number, string>()
  for (let i = 0; ; i++) {
    const word = i.toString(36)
    const twin = seen.get(wordHash(word))
    if (twin !== undefined) return [twin, word]
    seen.set(wordHash(word), word)
  }
}

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  const failure = fc.record({
    message,
    skill: fc.constantFrom('build', 'deploy', 'rare'),
    // Three months, and many at one time.
    startedAtMs: fc.integer({ min: 0, max: 60 }).map((days) => NOW - days * DAY_MS),
    status: fc.constantFrom('f', 'f', 'f', 's', 't'),
  })
  const made = fc.sample(failure, { numRuns: 3_000, seed: SEED })
  const writer = new TraceWriter(openDatabase(pool))
  failures = []
  for (let i = 0; i < made.length; i += 1_000) {
    await writer.write(
      made.slice(i, i + 1_000).map(({ message, skill, startedAtMs, status }) => {
        const traceId = newTraceId(startedAtMs)
        if (status === 'f') failures.push({ traceId, skill, startedAtMs, message })
        const end: Delta['e'] = [status as 'f', 5, 5, message]
        const delta: Delta = { t: traceId, b: 1, k: skill, n: [0, 0], e: end }
        return { traceId, startedAtMs, said: [{ producer: '', delta }], known: false }
      }),
    )
  }
})
afterAll(async () => {
  await pool.end()
  await database.drop()
})

const options = fc.record(
  {
    limit: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(300, 1_000)),
    threshold: fc.constantFrom(0, 0.1, 1 / 3, 0.3, 0.5, 0.6, 0.75, 1),
    skill: fc.constantFrom('build', 'rare', 'nobody'),
    since: fc.integer({ min: 0, max: 60 }).map((days) => NOW - days * DAY_MS),
  },
  { requiredKeys: [] },
)
const question = fc.tuple(
  fc.oneof(message, text(fc.constantFrom(...WORDS, 'call', 'took', 'unknown', 'w1'), 10)),
  options,
  fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined }),
)

const wordsOfFailures = new Map<string, Set<string>>()
function wordsOfMessage(message: string): Set<string> {
  const words = wordsOfFailures.get(message) ?? wordsOf(message)
  wordsOfFailures.set(message, words)
  return words
}

function bruteForce(
  text: string,
  asked: {
    limit?: number
    threshold?: number
    skill?: string | undefined
    since?: number | undefined
    until?: number | undefined
  },
): unknown[] {
  const wanted = wordsOf(text)
  return failures
    .filter(
      ({ skill, startedAtMs }) =>
        (asked.skill ?? skill) === skill &&
        startedAtMs >= (asked.since ?? 0) &&
        startedAtMs <= (asked.until ?? Number.POSITIVE_INFINITY),
    )
    .map((failure) => ({ ...failure, score: jaccard(wanted, wordsOfMessage(failure.message)) }))
    .filter(({ score }) => score >= (asked.threshold ?? 0.3))
    .sort((a, b) => b.score - a.score || b.startedAtMs - a.startedAtMs || (a.traceId < b.traceId ? 1 : -1))
    .slice(0, asked.limit ?? 10)
    .map(({ traceId, score, message }) => [traceId, score, message])
}

test.each([
  ['as it comes', []],
  ['with statistics', ['vacuum (analyze) failure_signatures', 'vacuum (analyze) execution_traces']],
  ['with intarray', ['create extension intarray']],
])('the same traces as brute force finds, in the same order: a server %s', async (_, statements) => {
  for (const statement of statements) await pool.query(statement)
  await using query = new TraceQuery(pool)
  const tables = { named: (table: string) => table, words: new WordStatistics('failure_signatures') }
  const { db } = openForReading(pool, {})
  await fc.assert(
    fc.asyncProperty(question, async ([text, { skill, since, ...asked }, lastDays]) => {
      // A window that ends after it begins.
      const until = lastDays === undefined ? undefined : Math.max(since ?? 0, NOW - lastDays * DAY_MS)
      const given = { ...asked, skill, since, until }
      const expected = bruteForce(text, given)
      const plain = (found: readonly SimilarFailure[]): unknown[] =>
        found.map((one) => [one.traceId, one.similarityScore, one.errorMessage])
      expect(plain(await query.findSimilarFailures(text, given as object))).toEqual(expected)
      const dates = { since: since && new Date(since), until: until && new Date(until) } as object
      const request = { pattern: text, limit: 10, threshold: 0.3, ...asked, skill, ...dates }
      // Looking back early.
      expect(plain(await findSimilar(db, tables, request, request.limit))).toEqual(expected)
    }),
    { numRuns: 150, seed: SEED },
  )
})

test('the newest failures say how similar others must be: whenever they are looked at, the same is found', async () => {
  const { db } = openForReading(pool, {})
  const request = fc.record({
    pattern: text(fc.constantFrom(...'abcdefgh'), 8),
    limit: fc.integer({ min: 1, max: 30 }),
    threshold: fc.constantFrom(0, 0.1, 0.3),
    skill: fc.constantFrom('build', 'rare', undefined),
  })
  // The more signatures there seem to be, the sooner, and the oftener.
  const believed = fc.constantFrom(1e5, 3e5, 1e6, 1e7)
  await fc.assert(
    fc.asyncProperty(request, believed, fc.constantFrom(1, 3, 10), async (request, signatures, each) => {
      const words = {
        table: 'failure_signatures',
        read: async () => ({ signatures, shares: new Map(), hasIntarray: false }),
      }
      const found = await findSimilar(db, { named: (table) => table, words }, request, each * request.limit)
      expect(found.map((one) => [one.traceId, one.similarityScore, one.errorMessage])).toEqual(
        bruteForce(request.pattern, request),
      )
    }),
    { numRuns: 300, seed: SEED },
  )
})

test('words that share a hash are not taken for one another', async () => {
  await using query = new TraceQuery(pool)
  const [one, other] = twins
  for (const text of [one, other, `${one} ${other}`, `a ${one}`, `${other} ${one} a b`])
    for (const threshold of [0, 0.3, 1])
      expect(
        (await query.findSimilarFailures(text, { threshold, limit: 50 })).map((found) => [
          found.traceId,
          found.similarityScore,
          found.errorMessage,
        ]),
      ).toEqual(bruteForce(text, { threshold, limit: 50 }))
})
