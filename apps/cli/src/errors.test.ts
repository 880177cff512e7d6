import { TraceQuery } from '@stepwell/query'
import { expect, test } from 'vitest'
import { EXIT_USAGE, explainError } from './errors.ts'

// Refused before anything is asked: nobody needs to be there.
const query = new TraceQuery('postgres://nobody@127.0.0.1:1/nowhere')

test('what packages refuse of arguments is told by the names of the options', async () => {
  const refusals: [refused: () => PromiseLike<unknown>, message: RegExp][] = [
    [
      () => query.findTraces({ minDurationMs: 2, maxDurationMs: 1 }),
      /^--min-duration must not be more than --max-duration$/,
    ],
    [
      () => query.listSkills({ since: '2026-02-01', until: '2026-01-01' }),
      /^--since must not be after --until$/,
    ],
    [
      () => query.explainFailures({ baseline: { since: '2026-02-01', until: '2026-01-01' } }),
      /^--baseline-since must not be after --baseline-until$/,
    ],
    [() => query.findTraces({ errorText: ' ' }), /^--error must hold a word$/],
    [() => query.findTraces({ cursor: 'x' }), /^--cursor must be /],
    [() => query.getFailureGroup('x'), /^<group> must be 16 hexadecimal digits$/],
    [
      () => query.skillStats({ since: '2026-01-01', until: '2026-03-01', bucket: 'minute' }),
      /^--bucket must be longer, or the window shorter: /,
    ],
  ]
  for (const [refused, message] of refusals) {
    const error = await refused().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(explainError(error)).toEqual({ message: expect.stringMatching(message), exitCode: EXIT_USAGE })
  }
})

test('what is about nothing that was typed stays as it is', () => {
  const error = (message: string): Error => Object.assign(new Error(message), { code: 'INVALID_INPUT' })
  for (const message of ['schema must be a usable schema name', 'limit of something', 'skillful must be'])
    expect(explainError(error(message)).message).toBe(message)
})
