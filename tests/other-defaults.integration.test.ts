import { newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { migrateToLatest, TraceStorage } from '@stepwell/storage'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { expect, test } from 'vitest'

// All that a database can be told otherwise and that could change what is read or written.
const OTHERWISE = {
  array_nulls: 'off',
  bytea_output: 'escape',
  client_encoding: 'LATIN1',
  datestyle: 'SQL, DMY',
  default_transaction_isolation: 'serializable',
  extra_float_digits: '-15',
  intervalstyle: 'sql_standard',
  quote_all_identifiers: 'on',
  standard_conforming_strings: 'off',
  timezone: 'America/St_Johns',
  transform_null_equals: 'on',
}

const SKILL = `na\\"i'ç\u{1F600}`

test('a database with other defaults: several write the same, none is refused, and nothing is read otherwise', async () => {
  const [plain, odd] = await Promise.all([createDatabase({ empty: true }), createDatabase({ empty: true })])
  const client = new pg.Client({ connectionString: odd.url })
  await client.connect()
  for (const [name, value] of Object.entries(OTHERWISE))
    await client.query(`alter database ${new URL(odd.url).pathname.slice(1)} set ${name} = '${value}'`)
  await client.end()
  const startMs = Date.UTC(2026, 9, 31, 23, 59, 59, 123)
  const traces = Array.from({ length: 40 }, (_, i) => ({
    traceId: newTraceId(startMs + i),
    skillName: SKILL,
    startedAt: new Date(startMs + i),
    completedAt: new Date(startMs + i + 12_346),
    totalDurationMs: 12_345.678_901_234,
    metadata: { text: `\\'; "\u{1F600}`, float: 0.1 + 0.2 },
    steps: [
      {
        name: 'load',
        timestamp: new Date(startMs + i),
        durationMs: 1_234.567_89,
        status: 'failed' as const,
        errorMessage: `\\'; é ${i}`,
      },
    ],
  }))
  const answers = await Promise.all(
    [plain, odd].map(async ({ url }) => {
      // Both at once: they wait for each other.
      await Promise.all([
        migrateToLatest({ connectionString: url }),
        migrateToLatest({ connectionString: url }),
      ])
      await using storage = new TraceStorage(url)
      await Promise.all([...traces, ...traces].map((trace) => storage.finalizeTrace(trace, 'failed')))
      await using query = new TraceQuery(url)
      const from = { since: new Date(startMs - 1), until: new Date(startMs + 60_000) }
      return {
        stored: await Promise.all(traces.map(({ traceId }) => storage.getTrace(traceId))),
        read: await Promise.all(traces.map(({ traceId }) => query.getTrace(traceId))),
        found: await query.findTraces({ minDurationMs: 12_345.6789, errorText: `\\'; é`, ...from }),
        similar: await query.findSimilarFailures(`\\'; é`, { limit: 50 }),
        statistics: await query.skillStats(from),
        steps: await query.stepStats({ skill: SKILL, ...from }),
      }
    }),
  )
  const [usual] = answers
  expect(usual?.read[0]).toMatchObject({
    skillName: SKILL,
    stepCount: 1,
    totalDurationMs: 12_345.678_901_234,
  })
  expect(usual?.found.traces).toHaveLength(traces.length)
  expect(usual?.similar).toHaveLength(traces.length)
  expect(usual?.statistics.skills).toMatchObject([{ traceCount: traces.length }])
  expect(answers[1]).toEqual(usual)
  await plain.drop()
  await odd.drop()
})
