import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'

type Case = [args: string[], code: number, stderr: RegExp, env?: Record<string, string>]

let database: Awaited<ReturnType<typeof createDatabase>>
let usual: Record<string, string>

beforeAll(async () => {
  database = await createDatabase()
  usual = { REDIS_URL: await redisForFile(), DATABASE_URL: database.url }
})
afterAll(() => database.drop())

test.each<[name: string, cases: Case[]]>([
  [
    'a call that is wrong',
    [
      [['trcaes'], 2, /Did you mean traces/],
      [[], 2, /Usage: stepwell/],
      [['traces', '--limit', '0'], 2, /option '--limit <n>' argument '0' is invalid/],
      [['traces', '--cursor', 'x'], 2, /^stepwell: --cursor must be/],
      [['traces', '--unknown'], 2, /unknown option/],
      [['trace'], 2, /missing required argument/],
      [['similar', ''], 2, /the text is empty: give the error message/],
      [['similar', ' \t\u3000', '--threshold', '0', '--json'], 2, /the text is empty/],
      [['failures', 'nope'], 2, /'nope' is no command of failures: .*failures show <group>/],
    ],
  ],
  [
    'an environment that is wrong',
    [
      [['skills'], 2, /DATABASE_URL is not set/, { DATABASE_URL: '' }],
      [['tail'], 2, /REDIS_URL is not set/, { REDIS_URL: '' }],
      [['skills'], 2, /DATABASE_URL must be a URL/, { DATABASE_URL: 'localhost' }],
      [['skills'], 2, /STEPWELL_NAMESPACE/, { STEPWELL_NAMESPACE: 'a b' }],
      [['skills'], 2, /schema/, { STEPWELL_SCHEMA: 'a; drop' }],
      [['skills'], 1, /stepwell migrate/, { STEPWELL_SCHEMA: 'not_there' }],
    ],
  ],
  [
    'servers that are away',
    [
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
      [['tail'], 1, /Redis cannot be reached at 127.0.0.1:1/, { REDIS_URL: 'redis://127.0.0.1:1' }],
    ],
  ],
])('%s: 2 for usage, 1 for failures, and what to do', async (_, cases) => {
  await Promise.all(
    cases.map(async ([args, code, stderr, env = {}]) => {
      const end = await runCli(args, { ...usual, ...env })
      expect({ args, code: end.code, stdout: end.stdout }).toEqual({ args, code, stdout: '' })
      expect(end.stderr).toMatch(stderr)
    }),
  )
})
