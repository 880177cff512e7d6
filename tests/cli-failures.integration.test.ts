import { newTraceId } from '@stepwell/protocol'
import { TraceStorage } from '@stepwell/storage'
import { createDatabase } from '@stepwell/testkit/vitest'
import { expect, test } from 'vitest'
import { type CliEnd, type Document, runCli } from './cli-bench.ts'

test('failures: groups, one of them, a note that similar failures show, what was stored before', async () => {
  const database = await createDatabase()
  const env = { DATABASE_URL: database.url, COLUMNS: '120' }
  const run = (...args: string[]): Promise<CliEnd> => runCli(args, env)
  const json = async (...args: string[]): Promise<Document> => {
    const { code, stdout, stderr } = await run(...args, '--json')
    expect(code, stderr).toBe(0)
    return JSON.parse(stdout)
  }
  {
    await using storage = new TraceStorage(database.url)
    const now = Date.now()
    const fail = (at: number, skillName: string, errorMessage: string): Promise<unknown> =>
      storage.finalizeTrace(
        {
          traceId: newTraceId(at),
          skillName,
          startedAt: new Date(at),
          completedAt: new Date(at + 5),
          errorMessage,
          steps: [{ name: 'connect', status: 'failed', durationMs: 5 }],
        },
        'failed',
      )
    for (let i = 0; i < 5; i++)
      await fail(now - i * 3_600_000, i < 3 ? 'deploy' : 'build', `timeout after ${i} ms`)
    await fail(now - 86_400_000, 'build', 'no space left on device')
  }
  const none = await run('failures', '--since', '1m', '--skill', 'nobody')
  expect(none).toMatchObject({ code: 0, stdout: '', stderr: expect.stringMatching(/no failures/) })

  const list = await run('failures')
  expect(list.stdout.split('\n')).toEqual([
    expect.stringMatching(/^GROUP +COUNT +SHARE +LAST +FIRST +LATEST IN +FAILURE$/),
    expect.stringMatching(
      /^[0-9a-f]{16} +5 +83\.3 % +\d+[sm] ago +4h ago +deploy \/ connect +timeout after <\*>$/,
    ),
    expect.stringMatching(
      /^[0-9a-f]{16} +1 +16\.7 % +1d ago +1d ago +build \/ connect +no space left on device$/,
    ),
    '',
  ])
  const { groups, failure_count } = await json('failures', 'list')
  expect(failure_count).toBe(6)
  expect(groups[0]).toMatchObject({
    group_id: expect.stringMatching(/^[0-9a-f]{16}$/),
    pattern: 'timeout after <*>',
    count: 5,
    share: 5 / 6,
    pattern_count: 1,
    first_seen: expect.any(String),
    last_seen: expect.any(String),
    latest: { skill_name: 'deploy', failed_step: 'connect', error_message: 'timeout after 0 ms' },
    notes: [],
  })
  const first = await json('failures', 'list', '--limit', '1')
  expect((await json('failures', 'list', '--limit', '1', '--cursor', first.next_cursor)).groups).toEqual([
    groups[1],
  ])

  const id = groups[0].group_id
  expect(await run('failures', 'note', id, 'raised the limit')).toMatchObject({ code: 0, stdout: 'noted\n' })
  const shown = await run('failures', 'show', id)
  expect(shown.stdout).toMatch(/^timeout after <\*>\n5 failures, 83\.3 % of all/)
  expect(shown.stdout).toMatch(/note raised the limit \(\d+[sm] ago\)/)
  expect(shown.stdout).toMatch(/\n +3 {2}deploy\n +2 {2}build\n/)
  expect(await json('failures', 'show', id)).toMatchObject({
    notes: [{ note: 'raised the limit' }],
    skills: [
      { skill_name: 'deploy', count: 3 },
      { skill_name: 'build', count: 2 },
    ],
    steps: [{ step_name: 'connect', count: 5 }],
  })
  expect((await run('similar', 'timeout after 77 ms')).stdout).toMatch(/NOTE\n.*raised the limit/)
  const { failures } = await json('similar', 'timeout after 77 ms')
  expect(failures[0]).toMatchObject({ group_id: id, notes: [{ note: 'raised the limit' }] })
  expect(await run('failures', 'note', id, '--remove')).toMatchObject({ code: 0, stdout: 'note removed\n' })
  expect((await json('failures', 'show', id)).notes).toEqual([])

  const cut = [
    [
      ['similar', 'timeout after 77 ms'],
      5,
      'failures',
      /^only the 2 failures most like it: --limit shows more\n$/,
    ],
    [['skills'], 2, 'skills', /^the 1 skill with the most runs: --limit shows more\n$/],
  ] as const
  for (const [args, all, name, said] of cut) {
    const limit = name === 'skills' ? '1' : '2'
    expect((await run(...args, '--limit', limit)).stderr).toMatch(said)
    const some = await json(...args, '--limit', limit)
    expect([some[name].length, some.truncated]).toEqual([Number(limit), true])
    expect(await run(...args, '--limit', String(all))).toMatchObject({ stderr: '' })
    const whole = await json(...args, '--limit', String(all))
    expect([whole[name].length, whole.truncated]).toEqual([all, false])
  }

  const wrong = [
    [['note', id], 2, /give the note/],
    [['note', '0123456789abcdef', 'x'], 1, /no failure group 0123456789abcdef/],
    [['show', '0123456789abcdef'], 1, /no failure group 0123456789abcdef/],
    [['show', 'x'], 2, /16 hexadecimal digits/],
  ] as const
  const ends = await Promise.all(wrong.map(([args]) => run('failures', ...args)))
  for (const [i, [, code, message]] of wrong.entries())
    expect(ends[i]).toMatchObject({ code, stderr: expect.stringMatching(message) })

  const rebuilt = await run('failures', 'rebuild', '--all')
  expect(rebuilt).toMatchObject({
    code: 0,
    stdout: '6 failures looked at, 0 changed\n2 patterns in 2 groups\n',
  })
  await database.drop()
})
