import {
  assemble,
  type Delta,
  metadataBits,
  newTraceId,
  rowOfState,
  type Said,
  type StepTuple,
} from '@stepwell/protocol'
import { failureMarks, openDatabase, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'

const MAX_STEPS = 6
let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

const step = (producer: string): fc.Arbitrary<StepTuple> =>
  fc
    .tuple(
      fc.integer({ min: 1, max: 6 }),
      fc.option(fc.integer({ min: 0, max: 50 })),
      fc.integer({ min: 0, max: 1 }),
      fc.option(fc.constantFrom('x', 'y', 'ß')),
    )
    .map(
      ([n, duration, status, error]): StepTuple => [
        producer === '' ? n : `${producer}.${n}`,
        `step ${n}`,
        n,
        duration,
        status,
        error,
      ],
    )

const end: fc.Arbitrary<NonNullable<Delta['e']>> = fc.tuple(
  fc.constantFrom('s' as const, 'f' as const, 't' as const),
  fc.option(fc.integer({ min: 0, max: 5 })),
  fc.option(fc.integer({ min: 0, max: 5 })),
  fc.option(fc.constantFrom('boom', 'bang'), { nil: null }),
) as never

const count = fc.integer({ min: 0, max: 7 })

const ownerDelta = fc
  .record(
    {
      k: fc.constantFrom('skill', 'skill-2'),
      x: fc.constantFrom('exec', 'exec-2'),
      m: fc.constantFrom({}, { env: 'prod' }, { env: 'dev', n: 1.5, deep: [null, { a: 'b' }] }),
      r: fc.integer({ min: 1, max: 3 }),
      l: fc.integer({ min: 1, max: 9 }),
      s: fc.array(step(''), { maxLength: 4 }),
      n: fc.tuple(count, count),
      e: end,
    },
    { requiredKeys: ['k', 'n'] },
  )
  .map((delta) => ({ producer: '', delta: delta as Omit<Delta, 't'> }))

const guestDelta = fc
  .constantFrom('p1', 'p2')
  .chain((producer) =>
    fc
      .record({ s: fc.array(step(producer), { maxLength: 3 }), n: fc.tuple(count, count) })
      .map((delta) => ({ producer, delta: delta as Omit<Delta, 't'> })),
  )

test('storing in any number of rounds from concurrent writers equals assembling all at once, column by column', async () => {
  const writers = Array.from({ length: 3 }, () => {
    const opened = openDatabase(database.url)
    return { opened, writer: new TraceWriter(opened, { maxSteps: MAX_STEPS }) }
  })
  const { pool } = (writers[0] as (typeof writers)[0]).opened
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(ownerDelta, ownerDelta, guestDelta), { minLength: 1, maxLength: 8 }),
      fc.array(fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 2 }), fc.boolean()), { maxLength: 12 }),
      async (parts, again) => {
        const t = newTraceId(Date.now())
        const startedAtMs = Number.parseInt(t.slice(0, 8) + t.slice(9, 13), 16)
        const all: Said[] = parts.map(({ producer, delta }) => ({ producer, delta: { ...delta, t } }))
        // Each delta at least once, some again; over the writers, many at the same time.
        const rounds = [
          ...all.map((said, i) => ({ said: [said], writer: i % 3, known: i % 2 === 0 })),
          ...again.map(([i, writer, known]) => ({ said: all.slice(0, (i % all.length) + 1), writer, known })),
        ]
        await Promise.all(
          rounds.map(({ said, writer, known }) =>
            writers[writer]?.writer.write([{ traceId: t, startedAtMs, said, known }]),
          ),
        )
        const { rows } = await pool.query('select * from execution_traces where trace_id = $1', [t])
        expect(rows).toHaveLength(1)
        const { version, ingested_at, sample_weight, ...columns } = rows[0]
        const row = rowOfState(assemble(all, undefined, MAX_STEPS))
        const marks = failureMarks(row)
        expect(columns).toEqual({
          ...JSON.parse(JSON.stringify(row), revive),
          error_signature: marks?.message ? String(marks.message.signature) : null,
          failure_pattern: marks?.message ? String(marks.message.patternId) : null,
          failed_step: marks?.step ?? null,
          metadata_bits: String(metadataBits(JSON.stringify(row.metadata), version)),
        })
        expect(version).toBeLessThanOrEqual(rounds.length)
        expect(ingested_at).toBeInstanceOf(Date)
        expect(sample_weight).toBe(1)
      },
    ),
    { numRuns: 150 },
  )
  await Promise.all(writers.map(({ opened }) => opened.close()))
})

const revive = (key: string, value: unknown): unknown =>
  (key === 'started_at' || key === 'completed_at') && typeof value === 'string' ? new Date(value) : value

test('the same thousand traces from four writers in different orders: no deadlock, each once', async () => {
  const opened = openDatabase(database.url)
  const deltas = Array.from(
    { length: 1000 },
    (_, i): Delta => ({ t: newTraceId(Date.now()), b: 1, k: `skill-${i}`, n: [0, 0], e: ['s', 1, 1] }),
  )
  const input = deltas.map((delta) => ({
    traceId: delta.t,
    startedAtMs: Number.parseInt(delta.t.slice(0, 8) + delta.t.slice(9, 13), 16),
    said: [{ producer: '', delta }],
    known: false,
  }))
  await Promise.all(
    Array.from({ length: 4 }, (_, i) =>
      new TraceWriter(opened).write(i % 2 === 0 ? input : input.toReversed()),
    ),
  )
  const { rows } = await opened.pool.query(
    `select count(*)::int n, max(version) v from execution_traces where skill_name like 'skill-%'and status = 'success' and step_count = 0 and execution_id is null and error_message is null and skill_name = any($1)`,
    [deltas.map((d) => d.k)],
  )
  expect(rows).toEqual([{ n: 1000, v: 1 }])
  await opened.close()
})

test('what is null in all rows of a statement is cleared where something stood; what one row has, only that row gets', async () => {
  const opened = openDatabase(database.url)
  const writer = new TraceWriter(opened)
  const now = Date.now()
  const [failing, other] = [newTraceId(now), newTraceId(now)]
  const write = (...all: [traceId: string, rest: Partial<Delta>][]): Promise<unknown> =>
    writer.write(
      all.map(([traceId, rest]) => ({
        traceId,
        startedAtMs: now,
        said: [{ producer: '', delta: { t: traceId, b: 1, k: 'rare', n: [0, 0], ...rest } }],
        known: false,
      })),
    )
  const rare = async (): Promise<unknown[]> =>
    (
      await opened.pool.query(
        `select status, error_message, parent_step_id, parent_trace_id is not null as has_parent, merge_state,
                error_signature is not null as has_signature, failure_pattern is not null as has_pattern, failed_step
           from execution_traces where trace_id in ($1, $2) order by trace_id`,
        [failing, other],
      )
    ).rows
  const nothing = { error_message: null, parent_step_id: null, has_parent: false, merge_state: null }
  const unmarked = { has_signature: false, has_pattern: false, failed_step: null }
  await write(
    [failing, { e: ['f', 5, 5], s: [[1, 'push', 0, 5, 1, 'no route']], n: [1, 1] }],
    [other, { e: ['s', 5, 5], u: [failing, 1, null] }],
  )
  expect(await rare()).toEqual([
    {
      ...nothing,
      status: 'failed',
      error_message: 'no route',
      merge_state: { derived_error: true },
      has_signature: true,
      has_pattern: true,
      failed_step: 'push',
    },
    { ...nothing, ...unmarked, status: 'success', parent_step_id: '1', has_parent: true },
  ])
  await write([failing, { e: ['s', 9, 9] }])
  expect((await rare())[0]).toEqual({ ...nothing, ...unmarked, status: 'success' })
  await opened.close()
})
