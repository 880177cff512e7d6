import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errorPattern } from './error-pattern.ts'
import { groupPatterns, groupPatternsInSteps } from './failure-groups.ts'

const groupsOf = (messages: readonly string[]): string[][] =>
  groupPatterns(messages.map(errorPattern)).map(({ members }) => members)
const namesOf = (messages: readonly string[]): string[] =>
  groupPatterns(messages.map(errorPattern)).map(({ pattern }) => pattern)
const MANY =
  'alice bob carol dave erin frank grace heidi ivan judy kim leo mallory nina oscar peggy quentin rosa sybil trent'.split(
    ' ',
  )
const NAMES = MANY.slice(0, 5)

describe('one group', () => {
  test.each([
    [
      'five names at one place',
      NAMES.map((name) => `Failed password for ${name} from 10.0.0.1`),
      'Failed password for <*> from <*>',
    ],
    [
      'one name where something varies',
      ['the login of bob7 failed', 'the login of eve failed'],
      'the login of <*> failed',
    ],
    [
      'a name next to what varies',
      ['no login of bob7 10.0.0.1 here', 'no login of eve 10.0.0.1 here'],
      'no login of <*> here',
    ],
    [
      'capitals where names are',
      [...NAMES, 'FILTER'].map((name) => `no such user ${name} here`),
      'no such user <*> here',
    ],
    [
      'two names at once, eight of each',
      MANY.slice(0, 8).map((name, i) => `the role ${name} is none of tenant ${MANY[i + 8]} here`),
      'the role <*> is none of tenant <*> here',
    ],
    [
      'two names where something varies',
      ['the role bob is none of tenant eve here', 'the role 7 is none of tenant 8 here'],
      'the role <*> is none of tenant <*> here',
    ],
    [
      'fifteen names after a colon',
      MANY.slice(0, 15).map((name) => `this is an unknown tool: ${name}`),
      'this is an unknown tool: <*>',
    ],
    [
      'fifteen names with few words',
      MANY.slice(0, 15).map((name) => `user ${name} failed`),
      'user <*> failed',
    ],
    [
      'Unicode',
      ['José', 'Zoë', 'Łukasz', 'Ирина', 'Νίκος'].map((name) => `the user ${name} is locked`),
      'the user <*> is locked',
    ],
    [
      'two places, each known',
      NAMES.flatMap((name) => NAMES.map((tool) => `user ${name} may not use tool ${tool} today`)),
      'user <*> may not use tool <*> today',
    ],
  ])('%s', (_, messages, pattern) => {
    expect(namesOf(messages)).toEqual([pattern])
  })
})

describe('groups of their own', () => {
  test.each([
    ['four names', NAMES.slice(1).map((name) => `Failed password for ${name} from 10.0.0.1`)],
    [
      'seven names at two places at once',
      MANY.slice(0, 7).map((name, i) => `the role ${name} is none of tenant ${MANY[i + 7]} here`),
    ],
    [
      'first and second names',
      MANY.slice(0, 10).map((name, i) => `the user ${name} ${MANY[i + 10]} is none`),
    ],
    ['a word that holds together what varies', ['could not convert 7 at 9', 'could not convert 7']],
    ['a place that is no name, and varies', ['the API request failed: 7', 'the API request failed: timeout']],
    ['few words in common', NAMES.map((name) => `user ${name} failed`)],
    [
      'codes',
      ['ECONNREFUSED', 'ETIMEDOUT', 'ECONNRESET', 'EHOSTUNREACH', 'EPIPE'].map(
        (code) => `could not reach the server: connect ${code} 10.0.0.1`,
      ),
    ],
    [
      'states',
      ['IDLE', 'RUNNING', 'DONE', 'FAILED', 'KILLED'].map(
        (state) => `task moved on to state ${state} too early`,
      ),
    ],
    [
      'codes with underscores',
      ['NOT_FOUND', 'ALREADY_EXISTS', 'DATA_LOSS', 'OUT_OF_RANGE', 'RESOURCE_EXHAUSTED'].map(
        (code) => `the call ended with ${code} at once`,
      ),
    ],
    [
      'exceptions',
      ['Key', 'Type', 'Value', 'Index', 'Name'].map((kind) => `the tool raised ${kind}Error in run`),
    ],
    [
      'causes after a colon',
      ['timeout', 'unauthorized', 'forbidden', 'throttled', 'aborted'].map(
        (cause) => `the API request failed: ${cause}`,
      ),
    ],
    ['verbs', ['open', 'read', 'write', 'close', 'lock'].map((verb) => `Failed to ${verb} the state file`)],
    [
      'verbs after cannot',
      ['open', 'read', 'write', 'close', 'lock'].map((verb) => `You cannot ${verb} the state file`),
    ],
  ])('%s', (_, messages) => {
    expect(groupsOf(messages).filter((members) => members.length > 1)).toEqual([])
  })
})

test('in steps, each of a few patterns, they are the same', () => {
  const patterns = MANY.flatMap((name) => MANY.map((tool) => `user ${name} may not use tool ${tool} today`))
  const steps = groupPatternsInSteps(patterns)
  for (let taken = 0; ; taken++) {
    const { done, value } = steps.next()
    if (!done) continue
    expect(value).toEqual(groupPatterns(patterns))
    expect(taken).toBeGreaterThan(patterns.length / 10)
    break
  }
})

test('none, and each once', () => {
  expect(groupPatterns([])).toEqual([])
  expect(groupPatterns(['a', '', 'a'])).toEqual([
    { pattern: 'a', members: ['a'] },
    { pattern: '', members: [''] },
  ])
})

const somePatterns = fc.array(
  fc
    .array(fc.constantFrom('a', 'b', 'c', 'd', 'E', 'not', 'x:', '<*>', ','), { minLength: 1, maxLength: 6 })
    .map((words) => errorPattern(words.join(' ').replaceAll('<*>', '7'))),
  { maxLength: 40 },
)
const partition = (patterns: readonly string[]): string[] =>
  groupPatterns(patterns)
    .map(({ pattern, members }) => `${pattern} = ${[...members].sort().join(' | ')}`)
    .sort()

test('the order does not matter', () => {
  fc.assert(
    fc.property(
      somePatterns.chain((patterns) =>
        fc.tuple(fc.constant(patterns), fc.shuffledSubarray(patterns, { minLength: patterns.length })),
      ),
      ([patterns, shuffled]) => {
        expect(partition(shuffled)).toEqual(partition(patterns))
      },
    ),
  )
})

test('more patterns part no group', () => {
  fc.assert(
    fc.property(somePatterns, somePatterns, (patterns, more) => {
      const groupOf = new Map(
        groupPatterns([...patterns, ...more]).flatMap(({ members }, i) =>
          members.map((m) => [m, i] as const),
        ),
      )
      for (const { members } of groupPatterns(patterns))
        expect(new Set(members.map((member) => groupOf.get(member))).size).toBe(1)
    }),
  )
})
