import { newTraceId } from '@stepwell/protocol'
import { errorPattern, patternId } from '@stepwell/protocol/failures'
import { type FailureGroupSummary, TraceQuery } from '@stepwell/query'
import { openDatabase, regroupFailures, setFailureGroupNote, TraceWriter } from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'

interface Failure {
  traceId: string
  at: number
  skill: string
  step: string
  message: string
}

const HOUR = 3_600_000
const DAY = 24 * HOUR
const NOW = Date.now()
const NAMES = 'alice bob carol dave erin frank grace'.split(' ')
let database: TestDatabase
let pool: pg.Pool
let query: TraceQuery
let failures: Failure[]

const SKILLS = ['build', 'deploy', 'report']
const idOf = (message: string): string => patternId(errorPattern(message))
/** Kinds that are told apart by eye: the tests' own account. */
const kindOf = ({ message }: Failure): string =>
  message.replace(/\d.*| (alice|bob|carol|dave|erin|frank|grace) .*/, '')

beforeAll(async () => {
  database = await createDatabase()
  pool = new pg.Pool({ connectionString: database.url })
  query = new TraceQuery(pool)
  // In turn, so that each of them fails everywhere: 300 that time out, 200 logins, 150 at one place, one long ago, one new.
  const messages = [
    ...Array.from({ length: 300 }, (_, i) => `timeout of ${1_000 + i}ms exceeded`),
    ...Array.from({ length: 200 }, (_, i) => `Login refused for user ${NAMES[i % 7]} from 10.0.0.${i}`),
    ...Array.from({ length: 150 }, (_, i) => `no space left on disk ${i}`),
  ]
  failures = messages.map((message, i) => {
    const at = NOW - 20 * DAY + ((i * 7_919) % 20) * DAY - (i % 24) * HOUR
    return { traceId: newTraceId(at), at, skill: SKILLS[i % 3] as string, step: `step-${i % 2}`, message }
  })
  const alone = (at: number, message: string): void => {
    failures.push({ traceId: newTraceId(at), at, skill: 'build', step: 'step-0', message })
  }
  alone(NOW - 50 * DAY, 'timeout of 7ms exceeded')
  alone(NOW - 2 * DAY, 'certificate of proxy has expired')
  const opened = openDatabase(pool)
  await new TraceWriter(opened).write(
    failures.map(({ traceId, at, skill, step, message }) => ({
      traceId,
      startedAtMs: at,
      said: [
        {
          producer: '',
          delta: { t: traceId, b: 1, k: skill, s: [[1, step, 0, 5, 1]], n: [1, 1], e: ['f', 5, 5, message] },
        },
      ],
      known: false,
    })),
  )
  await regroupFailures(opened)
})
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

/** The groups of these, counted one by one. */
function expectedOf(some: readonly Failure[]): unknown[] {
  const newest = (list: readonly Failure[]): Failure =>
    list.toSorted((a, b) => b.at - a.at || (a.traceId < b.traceId ? 1 : -1))[0] as Failure
  return [...Map.groupBy(some, kindOf)]
    .map(([kind, list]) => ({
      count: list.length,
      share: list.length / some.length,
      firstSeen: new Date(Math.min(...failures.filter((one) => kindOf(one) === kind).map(({ at }) => at))),
      lastSeen: new Date(newest(list).at),
      latest: {
        traceId: newest(list).traceId,
        skillName: newest(list).skill,
        startedAt: new Date(newest(list).at),
        errorMessage: newest(list).message,
        failedStep: newest(list).step,
      },
    }))
    .sort((a, b) => b.count - a.count)
}

const shown = (groups: readonly FailureGroupSummary[]): unknown[] =>
  groups.map(({ count, share, firstSeen, lastSeen, latest }) => ({
    count,
    share,
    firstSeen,
    lastSeen,
    latest,
  }))

const recent = (): Failure[] => failures.filter(({ at }) => at >= NOW - 30 * DAY)

test('the groups of the last 30 days, the largest first: how many, since when, an example', async () => {
  const { groups, failureCount, nextCursor } = await query.listFailureGroups()
  expect(failureCount).toBe(651)
  expect(nextCursor).toBeUndefined()
  expect(shown(groups)).toEqual(expectedOf(recent()))
  expect(groups.map(({ pattern, patternCount }) => [pattern, patternCount])).toEqual([
    ['timeout of <*> exceeded', 1],
    ['Login refused for user <*> from <*>', 7],
    ['no space left on disk <*>', 1],
    ['certificate of proxy has expired', 1],
  ])
})

test('of a skill, of a window, only new ones', async () => {
  const window = { since: NOW - 10 * DAY, until: NOW - 5 * DAY }
  const inWindow = failures.filter(({ at }) => at >= window.since && at <= window.until)
  expect(shown((await query.listFailureGroups(window)).groups)).toEqual(expectedOf(inWindow))
  const ofSkill = await query.listFailureGroups({ skill: 'deploy' })
  expect(shown(ofSkill.groups)).toEqual(expectedOf(recent().filter(({ skill }) => skill === 'deploy')))
  const all = await query.listFailureGroups({ since: 0 })
  expect([all.failureCount, all.groups[0]?.count]).toEqual([652, 301])
  const { groups, failureCount } = await query.listFailureGroups({ newSince: NOW - 3 * DAY })
  expect([groups.map(({ pattern }) => pattern), failureCount]).toEqual([
    ['certificate of proxy has expired'],
    651,
  ])
  expect(await query.listFailureGroups({ skill: 'nobody' })).toEqual({ groups: [], failureCount: 0 })
  // Nothing is new: that is not to say that nothing failed.
  expect(await query.listFailureGroups({ newSince: NOW + DAY })).toEqual({ groups: [], failureCount: 651 })
})

test('page by page, the same', async () => {
  const whole = await query.listFailureGroups()
  const paged: FailureGroupSummary[] = []
  let cursor: string | undefined
  do {
    const page = await query.listFailureGroups({ limit: 1, ...(cursor === undefined ? {} : { cursor }) })
    expect(page.failureCount).toBe(651)
    paged.push(...page.groups)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  expect(paged).toEqual(whole.groups)
  const { nextCursor } = await query.listFailureGroups({ limit: 1 })
  await expect(query.listFailureGroups({ cursor: nextCursor as string, skill: 'build' })).rejects.toThrow(
    'other filters',
  )
  await expect(query.listFailureGroups({ cursor: 'x' })).rejects.toThrow('cursor must be')
})

test('one group, by the id of any of its patterns: skills, steps, examples, trend; all of them add up', async () => {
  const logins = recent().filter(({ message }) => message.startsWith('Login'))
  const ids = new Set(NAMES.map((name) => idOf(`Login refused for user ${name} from 10.0.0.1`)))
  expect(ids.size).toBe(7)
  const found = await Promise.all([...ids].map((id) => query.getFailureGroup(id, { until: NOW })))
  for (const one of found) expect(one).toEqual(found[0])
  const [group] = found
  expect(group).toMatchObject({
    pattern: 'Login refused for user <*> from <*>',
    count: 200,
    share: 200 / 651,
    patternCount: 7,
    skillCount: 3,
    stepCount: 2,
    notes: [],
  })
  expect(ids).toContain(group?.groupId)
  const countBy = (list: readonly Failure[], key: 'skill' | 'step'): Record<string, number> =>
    Object.fromEntries([...Map.groupBy(list, (one) => one[key])].map(([name, { length }]) => [name, length]))
  expect(Object.fromEntries(group?.skills.map((one) => [one.skillName, one.count]) ?? [])).toEqual(
    countBy(logins, 'skill'),
  )
  expect(Object.fromEntries(group?.steps.map((one) => [one.stepName, one.count]) ?? [])).toEqual(
    countBy(logins, 'step'),
  )
  expect(group?.traces.map(({ traceId }) => traceId)).toEqual(
    logins
      .toSorted((a, b) => b.at - a.at || (a.traceId < b.traceId ? 1 : -1))
      .slice(0, 10)
      .map(({ traceId }) => traceId),
  )
  for (const { start, end, count } of group?.trend ?? [])
    expect(count).toBe(logins.filter(({ at }) => at >= start.getTime() && at < end.getTime()).length)
  expect(group?.trend.reduce((sum, { count }) => sum + count, 0)).toBe(200)
  expect(group?.trend.length).toBeLessThanOrEqual(61)
})

test('one group where nothing failed, or that is none; windows of any length have a trend that is bounded', async () => {
  const id = idOf('no space left on disk 1')
  const quiet = await query.getFailureGroup(id, { since: NOW - 400 * DAY, until: NOW - 300 * DAY })
  expect(quiet).toMatchObject({ count: 0, share: 0, skills: [], steps: [], traces: [] })
  expect(quiet?.lastSeen).toBeUndefined()
  expect(await query.getFailureGroup('0123456789abcdef')).toBeUndefined()
  await expect(query.getFailureGroup('x')).rejects.toThrow('id must be 16 hexadecimal digits')
  for (const since of [NOW - 1_000, NOW - 3 * HOUR, NOW - 26 * HOUR, 0]) {
    const { trend = [], count } = (await query.getFailureGroup(id, { since, skill: 'build' })) ?? {}
    expect(trend.length).toBeGreaterThan(0)
    expect(trend.length).toBeLessThanOrEqual(61)
    expect(trend.reduce((sum, one) => sum + one.count, 0)).toBe(count)
  }
})

test('a note is shown with the group, in the list, and with similar failures; groups that become one keep theirs', async () => {
  const opened = openDatabase(pool)
  const id = idOf('timeout of 5ms exceeded')
  expect(await setFailureGroupNote(opened, id, '  raised the limit ')).toBe(true)
  const note = { note: 'raised the limit', updatedAt: expect.any(Date) }
  expect((await query.getFailureGroup(id))?.notes).toEqual([note])
  expect((await query.listFailureGroups()).groups.map(({ notes }) => notes)).toEqual([[note], [], [], []])
  const [similar] = await query.findSimilarFailures('timeout of 99ms exceeded', 1)
  expect(similar).toMatchObject({ groupId: id, notes: [note] })
  await setFailureGroupNote(opened, id, 'raised it again')
  expect((await query.getFailureGroup(id))?.notes).toEqual([{ ...note, note: 'raised it again' }])
  const other = idOf('no space left on disk 1')
  await setFailureGroupNote(opened, other, 'emptied it')
  await pool.query(
    `update failure_patterns set group_id = (select group_id from failure_patterns where pattern like 'timeout%') where pattern like 'no space%'`,
  )
  expect((await query.getFailureGroup(other))?.notes.map((one) => one.note)).toEqual([
    'emptied it',
    'raised it again',
  ])
  expect(await setFailureGroupNote(opened, other, null)).toBe(true)
  expect((await query.getFailureGroup(id))?.notes).toEqual([])
  expect(await setFailureGroupNote(opened, '0123456789abcdef', 'x')).toBe(false)
  for (const [group, text] of [
    ['x', 'note'],
    [id, ' '],
    [id, 'x'.repeat(4_001)],
    [id, 'a\0'],
  ] as const)
    await expect(setFailureGroupNote(opened, group, text)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
})
