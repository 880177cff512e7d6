import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'

test('wrong usage is 2, failures are 1, and each says what to do', async () => {
  const cases: [args: string[], code: number, stderr: RegExp, env?: Record<string, string>][] = [
    [['trcaes'], 2, /Did you mean traces/],
    [[], 2, /Usage: stepwell/],
    [['traces', '--status', 'done'], 2, /Allowed choices are running, success, failed, timeout/],
    [['traces', '--since', 'yesterday'], 2, /is no time/],
    [['traces', '--limit', '0'], 2, /whole number/],
    [['traces', '--limit', '5000'], 2, /limit must be a whole number from 1 to 1000/],
    [['traces', '--cursor', 'x'], 2, /cursor/],
    [['traces', '--unknown'], 2, /unknown option/],
    [['trace'], 2, /missing required argument/],
    [['similar', 'x', '--threshold', '2'], 2, /from 0 to 1/],
    [['similar', ''], 2, /the text is empty: give the error message/],
    [['similar', ' \t\u3000', '--threshold', '0', '--json'], 2, /the text is empty/],
    [['stuck', '--quantile', '1'], 2, /quantile must be between 0 and 1/],
    [['explain', '--sample', '5'], 2, /sample must be a whole number from 10/],
    [['skills'], 2, /DATABASE_URL is not set/, { DATABASE_URL: '' }],
    [['tail'], 2, /REDIS_URL is not set/, { REDIS_URL: '' }],
    [['skills'], 2, /DATABASE_URL must be a URL/, { DATABASE_URL: 'localhost' }],
    [['skills'], 2, /STEPWELL_NAMESPACE/, { STEPWELL_NAMESPACE: 'a b' }],
    [['skills'], 2, /schema/, { STEPWELL_SCHEMA: 'a; drop' }],
    [
      ['skills'],
      1,
      /Postgres cannot be reached .*127.0.0.1:1/,
      { DATABASE_URL: 'postgres://x@127.0.0.1:1/y' },
    ],
    [
      ['skills'],
      1,
      /Postgres cannot be reached .*127.0.0.1:1/,
      { DATABASE_URL: 'postgres://x@localhost:1/y' },
    ],
    [['failures', 'nope'], 2, /'nope' is no command of failures: .*failures show <group>/],
    [['tail'], 1, /Redis cannot be reached at 127.0.0.1:1/, { REDIS_URL: 'redis://127.0.0.1:1' }],
    [['skills'], 1, /stepwell migrate/, { STEPWELL_SCHEMA: 'not_there' }],
  ]
  const database = await createDatabase()
  const usual = { REDIS_URL: await redisForFile(), DATABASE_URL: database.url }
  await Promise.all(
    cases.map(async ([args, code, stderr, env = {}]) => {
      const end = await runCli(args, { ...usual, ...env })
      expect({ args, code: end.code, stdout: end.stdout }).toEqual({ args, code, stdout: '' })
      expect(end.stderr).toMatch(stderr)
    }),
  )
  await database.drop()
})
