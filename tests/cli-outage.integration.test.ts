import { newTraceId } from '@stepwell/protocol'
import { openDatabase, TraceWriter } from '@stepwell/storage'
import { startRedis, type TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'

// Somebody asks in the middle of an outage of Redis.

let database: TestDatabase
/** Two hours at it, as a checkpoint has stored it. */
const startedAtMs = Date.now() - 2 * 3_600_000
const traceId = newTraceId(startedAtMs)

beforeAll(async () => {
  database = await createDatabase()
  const opened = openDatabase(database.url)
  const delta = {
    t: traceId,
    b: 1 as const,
    k: 'hanging',
    s: [[1, 'wait', 0]] as [number, string, number][],
    n: [1, 0] as [number, number],
  }
  await new TraceWriter(opened).write([
    { traceId, startedAtMs, said: [{ producer: '', delta }], known: false },
  ])
  await opened.close()
})
afterAll(() => database.drop())

const ONLY_POSTGRES =
  'only what Postgres knows is shown: what began since the last checkpoints is not in it\n'

async function expectPostgresAlone(redisUrl: string, why: RegExp): Promise<void> {
  const env = { REDIS_URL: redisUrl, DATABASE_URL: database.url }
  const ask = (...args: string[]) => runCli(args, env)
  await Promise.all(
    ['running', 'stuck'].map(async (command) => {
      const [table, json] = await Promise.all([ask(command), ask(command, '--json')])
      for (const { code, stderr } of [table, json]) {
        expect({ command, code }).toEqual({ command, code: 3 })
        expect(stderr).toMatch(why)
        expect(stderr).toContain(ONLY_POSTGRES)
      }
      expect(table.stdout).toMatch(/\n\S+ +hanging +2h 0\dm .*wait/)
      expect(JSON.parse(json.stdout)).toMatchObject({
        [command]: [{ trace_id: traceId, current_step: { name: 'wait' } }],
        redis_error: expect.stringMatching(why),
      })
    }),
  )
  // What is stored is shown; of what is not, nobody can say that it is not there.
  const [stored, unknown] = await Promise.all([ask('trace', traceId), ask('trace', newTraceId(startedAtMs))])
  expect(stored).toMatchObject({ code: 0, stderr: '' })
  expect(unknown).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^stepwell: In Postgres there is no trace /),
  })
  expect(unknown.stderr).toMatch(why)
}

test('Redis is not there: running, stuck and trace tell what Postgres knows, and that it is not all', () =>
  expectPostgresAlone('redis://127.0.0.1:1', /Redis cannot be reached at 127\.0\.0\.1:1 \(.*ECONNREFUSED/))

test('Redis takes the connection and stands still: after ten seconds the same', async () => {
  await using redis = await startRedis()
  redis.pause()
  await expectPostgresAlone(redis.url, /Redis cannot be reached at .* \(it has not answered for 10 s\)/)
})
