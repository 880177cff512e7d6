import { type Delta, newTraceId } from '@stepwell/protocol'
import { errorPattern, PATTERN_VERSION } from '@stepwell/protocol/failures'
import {
  type Database,
  messageMarks,
  openDatabase,
  rebuildFailures,
  regroupFailures,
  TraceWriter,
} from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

const NOW = Date.now()
let made: TestDatabase
let database: Database

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ connectionString: made.url, max: 6 })
})
beforeEach(() =>
  database.pool.query('truncate execution_traces, failure_signatures, failure_patterns, failure_notes'),
)
afterAll(async () => {
  await database.close()
  await made.drop()
})

const rows = async (sql: string): Promise<unknown[]> => (await database.pool.query(sql)).rows

function failure(
  message: string,
  startedAtMs: number,
): { traceId: string; startedAtMs: number; delta: Delta } {
  const traceId = newTraceId(startedAtMs)
  const s: Delta['s'] = [[1, 'connect', 0, 5, 1]]
  return {
    traceId,
    startedAtMs,
    delta: { t: traceId, b: 1, k: 'deploy', s, n: [1, 1], e: ['f', 5, 5, message] },
  }
}

const write = (
  writer: TraceWriter,
  failures: readonly ReturnType<typeof failure>[],
  more: Partial<Delta> = {},
): Promise<unknown> =>
  writer.write(
    failures.map(({ traceId, startedAtMs, delta }) => ({
      traceId,
      startedAtMs,
      said: [{ producer: '', delta: { ...delta, ...more } }],
      known: true,
    })),
  )

/** All that traces and tables of failures say of messages. */
const everything = (): Promise<unknown[]> =>
  rows(
    `select trace_id, status, error_signature, failure_pattern, failed_step, s.words, s.word_count, p.pattern, p.pattern_version,
            s.seen_until >= started_at and p.seen_until >= started_at and p.first_seen <= started_at as covered
       from execution_traces left join failure_signatures s on s.signature = error_signature left join failure_patterns p on p.pattern_id = failure_pattern
      order by trace_id`,
  )

/** As an older version left it. */
const forget = async (): Promise<void> => {
  await database.pool.query(
    'update execution_traces set error_signature = null, failure_pattern = null, failed_step = null',
  )
  await database.pool.query('truncate failure_signatures, failure_patterns')
}

const spread = (count: number): ReturnType<typeof failure>[] =>
  Array.from({ length: count }, (_, i) =>
    failure(`request ${i % 50} to host-${i % 7} failed`, NOW - (i % 40) * 86_400_000),
  )

test('what was stored before there were signatures gets them, as if it were stored now; stopped half-way, the next call goes on', async () => {
  const failures = spread(1_500)
  await write(new TraceWriter(database), failures.slice(0, 1_000))
  await write(new TraceWriter(database), failures.slice(1_000))
  const whole = await everything()
  await forget()
  const stop = new AbortController()
  const first = await rebuildFailures(database, { signal: stop.signal, onProgress: () => stop.abort() })
  expect(first).toEqual({ looked: 500, changed: 500 })
  expect(await rebuildFailures(database)).toEqual({ looked: 1_000, changed: 1_000 })
  expect(await everything()).toEqual(whole)
  expect(await rebuildFailures(database)).toEqual({ looked: 0, changed: 0 })
  await database.pool.query(
    "update execution_traces set failed_step = 'no' where error_message like 'request 7 %'",
  )
  await database.pool.query('truncate failure_signatures')
  expect(await rebuildFailures(database, { all: true })).toEqual({ looked: 1_500, changed: 30 })
  expect(await everything()).toEqual(whole)
})

test('while workers write the same traces: what they say stays, and nothing fails', async () => {
  const failures = spread(1_000)
  const writer = new TraceWriter(database)
  await write(writer, failures)
  await forget()
  // A later end, without and with the failure.
  const later = [
    write(writer, failures.slice(0, 400), { e: ['s', 9, 9] }),
    write(new TraceWriter(database), failures.slice(300, 900), { e: ['f', 12, 12, 'otherwise'] }),
  ]
  await Promise.all([rebuildFailures(database), rebuildFailures(database), ...later])
  await rebuildFailures(database)
  const expected = failures.map(({ traceId, delta }, i) => {
    const message = i >= 300 && i < 900 ? 'otherwise' : i < 400 ? null : (delta.e?.[3] as string)
    return {
      trace_id: traceId,
      error_signature: message === null ? null : String(messageMarks(message).signature),
    }
  })
  expect(await rows('select trace_id, error_signature from execution_traces order by trace_id')).toEqual(
    expected.sort((a, b) => (a.trace_id < b.trace_id ? -1 : 1)),
  )
})

test('patterns of an older version are made again, and their ids lead to where the traces are now', async () => {
  await write(new TraceWriter(database), spread(100))
  const whole = await everything()
  await database.pool.query('update execution_traces set failure_pattern = 42')
  await database.pool.query(
    `insert into failure_patterns (pattern_id, group_id, first_seen, seen_until, pattern_version, pattern)
     values (42, 42, 'epoch', now(), 0, 'as it was')`,
  )
  expect(await rebuildFailures(database)).toEqual({ looked: 100, changed: 100 })
  expect(await everything()).toEqual(whole)
  const { patternId } = messageMarks('request 1 to host-1 failed')
  expect(await rows('select group_id, pattern_version from failure_patterns where pattern_id = 42')).toEqual([
    { group_id: String(patternId), pattern_version: PATTERN_VERSION },
  ])
})

test('patterns that differ by a name become one group once there are enough; its id stays, and it never parts', async () => {
  const writer = new TraceWriter(database)
  const names = 'alice bob carol dave erin frank'.split(' ')
  const login = (name: string): string => `Failed password for ${name} from 10.0.0.1 port 22`
  const groups = async (): Promise<Map<string, string>> =>
    new Map(
      (
        (await rows('select pattern, group_id from failure_patterns')) as {
          pattern: string
          group_id: string
        }[]
      ).map(({ pattern, group_id }) => [pattern, group_id]),
    )
  const groupOf = async (message: string): Promise<string | undefined> =>
    (await groups()).get(errorPattern(message))
  await write(writer, [
    ...names.slice(0, 4).map((name, i) => failure(login(name), NOW + i)),
    failure('no space left', NOW),
  ])
  expect(await regroupFailures(database)).toEqual({ patterns: 5, groups: 5, moved: 0 })
  const id = await groupOf(login('alice'))
  await write(writer, [failure(login('erin'), NOW + 5)])
  expect(await regroupFailures(database)).toEqual({ patterns: 6, groups: 2, moved: 4 })
  expect([await groupOf(login('dave')), await groupOf(login('erin'))]).toEqual([id, id])
  // Told late of what was earlier: the id that was handed out stays.
  await write(writer, [failure(login('frank'), NOW - 1_000)])
  await regroupFailures(database)
  expect(await groupOf(login('frank'))).toBe(id)
  expect(await regroupFailures(database)).toEqual({ patterns: 7, groups: 2, moved: 0 })
  // Stored again, by a worker that knows nothing.
  await write(new TraceWriter(database), [failure(login('bob'), NOW + 9)])
  expect(await groupOf(login('bob'))).toBe(id)
  await database.pool.query(
    "delete from failure_patterns where pattern like '%erin%' or pattern like '%dave%'",
  )
  await regroupFailures(database)
  expect(await groupOf(login('carol'))).toBe(id)
})
