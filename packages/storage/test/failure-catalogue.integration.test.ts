import { setImmediate } from 'node:timers/promises'
import { newTraceId } from '@stepwell/protocol'
import { wordKeys, wordsOf } from '@stepwell/protocol/failures'
import {
  dropPartitionsBefore,
  expireFailures,
  FailureCatalogue,
  messageMarks,
  migrateToLatest,
  openDatabase,
  regroupFailures,
  type TraceInput,
  TraceStorage,
} from '@stepwell/storage'
import { type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

const HOUR_MS = 3_600_000
const NOW = Date.now()
let database: TestDatabase
let pool: pg.Pool

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
})
beforeEach(() => pool.query('truncate execution_traces, failure_signatures, failure_patterns'))
afterAll(async () => {
  await pool.end()
  await database.drop()
})

const failedAt = (startedMs: number, errorMessage?: string, steps: TraceInput['steps'] = []): TraceInput => ({
  traceId: newTraceId(startedMs),
  skillName: 'deploy',
  startedAt: new Date(startedMs),
  completedAt: new Date(startedMs + 5),
  ...(errorMessage === undefined ? {} : { errorMessage }),
  steps,
})

const rows = async (sql: string): Promise<unknown[]> => (await pool.query(sql)).rows

test('a failed trace carries the signature and the pattern of its message, and the step; what succeeds carries nothing', async () => {
  await using storage = new TraceStorage(pool)
  const message = 'Connection to 10.0.0.7 refused'
  const { signature, patternId, pattern } = messageMarks(message)
  const steps = [{ name: 'connect', status: 'failed' as const, durationMs: 1 }]
  const failed = failedAt(NOW, message, steps)
  await storage.finalizeTrace(failed, 'failed')
  await storage.finalizeTrace(failedAt(NOW, 'refused connection TO 10.0.0.7', steps), 'failed')
  await storage.finalizeTrace(failedAt(NOW, undefined), 'failed')
  await storage.finalizeTrace(failedAt(NOW, 'late', [{ name: 'wait', status: 'running' }]), 'timeout')
  await storage.finalizeTrace(failedAt(NOW, 'all is well', steps), 'success')
  expect(
    await rows(
      'select error_message, error_signature, failure_pattern, failed_step from execution_traces order by error_message collate "C" nulls first',
    ),
  ).toMatchObject([
    { error_message: null, error_signature: null, failure_pattern: null, failed_step: null },
    { error_message: message, error_signature: String(signature), failed_step: 'connect' },
    { error_message: 'all is well', error_signature: null, failure_pattern: null, failed_step: null },
    { error_message: 'late', error_signature: null, failure_pattern: null, failed_step: 'wait' },
    { error_signature: String(signature), failed_step: 'connect' },
  ])
  expect(await rows('select signature, word_count, words from failure_signatures')).toEqual([
    { signature: String(signature), word_count: 4, words: wordKeys(wordsOf(message)) },
  ])
  expect(
    await rows(
      `select pattern_id, group_id, pattern, first_seen from failure_patterns where pattern = '${pattern}'`,
    ),
  ).toEqual([
    { pattern_id: String(patternId), group_id: String(patternId), pattern, first_seen: new Date(NOW) },
  ])
})

test('a trace that turns out to have gone otherwise loses its marks', async () => {
  await using storage = new TraceStorage(pool)
  const trace = failedAt(NOW, 'no')
  await storage.finalizeTrace(trace, 'failed')
  await storage.finalizeTrace({ ...trace, completedAt: new Date(NOW + 10) }, 'success')
  expect(await rows('select status, error_signature, failure_pattern from execution_traces')).toEqual([
    { status: 'success', error_signature: null, failure_pattern: null },
  ])
})

test('messages without words, of one huge word, of thousands, of any script', async () => {
  await using storage = new TraceStorage(pool)
  const messages = [
    '',
    ' \n\u3000',
    'x'.repeat(16_000),
    Array.from({ length: 4_000 }, (_, i) => i.toString(36)).join(' '),
    '接続 エラー😀 Ünïcode',
    '"quoted" {braces} \\back',
  ]
  for (const message of messages) await storage.finalizeTrace(failedAt(NOW, message), 'failed')
  expect(
    await rows(
      `select word_count, cardinality(words) as keys from execution_traces t
         join failure_signatures s on s.signature = t.error_signature join failure_patterns p on p.pattern_id = t.failure_pattern
        order by word_count`,
    ),
  ).toEqual([0, 0, 1, 3, 3, 4_000].map((count) => ({ word_count: count, keys: 2 * count })))
})

test('what is seen again is written again once an hour; what is seen earlier, or lies back, always', async () => {
  await using storage = new TraceStorage(pool)
  const span = async (): Promise<unknown> =>
    (
      await rows(
        'select first_seen, p.seen_until, s.seen_until as until from failure_patterns p, failure_signatures s',
      )
    )[0]
  const hour = (n: number): number => (Math.floor(NOW / HOUR_MS) + n) * HOUR_MS
  const at = async (ms: number): Promise<void> => {
    await storage.finalizeTrace(failedAt(ms, 'again'), 'failed')
  }
  await at(hour(-3))
  expect(await span()).toEqual({
    first_seen: new Date(hour(-3)),
    seen_until: new Date(hour(-2)),
    until: new Date(hour(-2)),
  })
  await pool.query('truncate failure_signatures, failure_patterns')
  await at(hour(-3) + 1_000)
  expect(await span(), 'known: not written').toBeUndefined()
  await at(hour(-2))
  await at(hour(-3) - 1)
  await at(hour(-40))
  expect(await span()).toEqual({
    first_seen: new Date(hour(-40)),
    seen_until: new Date(hour(-1)),
    until: new Date(hour(-1)),
  })
})

test('writers that enter the same messages in different orders wait for one another, and none fails', async () => {
  const opened = openDatabase({ connectionString: database.url, max: 8 })
  const messages = Array.from({ length: 200 }, (_, i) => `message ${String.fromCharCode(0x4e00 + i)}`)
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const inTurn = i % 2 === 0 ? messages : messages.toReversed()
      for (let n = 0; n < 10; n++)
        await new FailureCatalogue(opened).enter(
          inTurn.map((message) => ({
            marks: messageMarks(message),
            startedAtMs: NOW + (n * 8 + i) * HOUR_MS,
          })),
          NOW,
        )
    }),
  )
  expect(
    await rows(
      'select count(*)::integer as n, min(seen_until) as least, max(seen_until) as most from failure_signatures',
    ),
  ).toEqual([
    {
      n: 200,
      least: new Date((Math.floor(NOW / HOUR_MS) + 80) * HOUR_MS),
      most: new Date((Math.floor(NOW / HOUR_MS) + 80) * HOUR_MS),
    },
  ])
  await opened.close()
})

test('other work goes on while thousands of patterns are put into groups', async () => {
  const letters = (n: number): string =>
    n.toString(26).replaceAll(/./g, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 26)))
  const occurrences = Array.from({ length: 4_000 }, (_, i) => ({
    marks: messageMarks(
      `the tool x${letters(i)} of y${letters(i % 900)} said z${letters(i % 70)} to the agent`,
    ),
    startedAtMs: NOW,
  }))
  const opened = openDatabase(pool)
  await new FailureCatalogue(opened).enter(occurrences, NOW)
  let isDone = false
  const regrouped = regroupFailures(opened).finally(() => {
    isDone = true
  })
  let longestMs = 0
  while (!isDone) {
    const before = process.cpuUsage()
    await setImmediate()
    const { user, system } = process.cpuUsage(before)
    longestMs = Math.max(longestMs, (user + system) / 1_000)
  }
  expect(await regrouped).toMatchObject({ patterns: 4_000 })
  // Half a second of CPU in all, in turns of 10 ms.
  expect(longestMs).toBeLessThan(300)
})

test('what was last seen before the oldest month is forgotten, but for groups with a note', async () => {
  const opened = openDatabase(database.url)
  await using storage = new TraceStorage(opened.pool)
  const [long, later] = [Date.UTC(2019, 4, 5), Date.UTC(2020, 6, 5)]
  await storage.finalizeTrace(failedAt(long, 'old and gone'), 'failed')
  await storage.finalizeTrace(failedAt(long, 'old and noted'), 'failed')
  await storage.finalizeTrace(failedAt(later, 'kept'), 'failed')
  await storage.finalizeTrace(failedAt(NOW, 'new'), 'failed')
  const { patternId } = messageMarks('old and noted')
  await pool.query(
    `insert into failure_notes (pattern_id, updated_at, note) values (${patternId}, now(), 'x')`,
  )
  const patterns = (): Promise<unknown[]> =>
    rows('select pattern from failure_patterns order by first_seen, 1')
  expect(await expireFailures(opened, NOW)).toBe(0)
  expect(await dropPartitionsBefore(opened, Date.UTC(2020, 0, 1))).toHaveLength(1)
  expect(await expireFailures(opened, NOW)).toBe(3)
  expect(await patterns()).toEqual(['old and noted', 'kept', 'new'].map((pattern) => ({ pattern })))
  expect(await rows('select count(*)::integer as n from failure_signatures')).toEqual([{ n: 2 }])
  // A writer that has been there all the time knows that it has to enter them anew.
  const again = (): Promise<unknown> => storage.finalizeTrace(failedAt(long, 'old and gone'), 'failed')
  await again().catch(again)
  expect(await patterns()).toHaveLength(4)
  await dropPartitionsBefore(opened, Date.UTC(2020, 7, 1))
  await opened.close()
})

test('one at a time groups the failures of a schema, whoever does so in another one', async () => {
  await migrateToLatest({ connectionString: database.url, schema: 'other_team' })
  const ours = openDatabase(pool)
  const theirs = openDatabase(pool, 'other_team')
  const holder = await pool.connect()
  await holder.query('begin; lock table public.failure_patterns in access exclusive mode')
  const grouping = regroupFailures(ours)
  await waitFor(
    async () =>
      (
        await holder.query(
          `select from pg_locks
            where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
        )
      ).rows.length > 0,
    { what: 'ours is at it' },
  )
  expect(await regroupFailures(ours)).toBeUndefined()
  expect(await regroupFailures(theirs)).toEqual({ patterns: 0, groups: 0, moved: 0 })
  await holder.query('commit')
  holder.release()
  expect(await grouping).toEqual({ patterns: 0, groups: 0, moved: 0 })
})

test('words of messages that are new are looked for by their index, before any vacuum', async () => {
  await pool.query(
    `insert into failure_signatures
     select i, now(), 12, array(select (random() ^ 3 * 20000)::int from generate_series(1, 12) where i is not null)
       from generate_series(1, 20000) i`,
  )
  await pool.query('analyze failure_signatures')
  const plan = await rows(`explain select signature from failure_signatures where words && '{17}'`)
  expect(JSON.stringify(plan)).toContain('Index Scan on failure_signatures_words')
})
