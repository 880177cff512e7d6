import { FINAL_STATUSES } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dueOf } from './retention-plan.ts'
import { classOf, classText, expiryMs, parseRetentionRules, sortRules } from './retention-policy.ts'

test('rules as people write them, the most specific first', () => {
  expect(
    parseRetentionRules('success=7d, failed=90d,docker-build/*=30d docker-build/failed=365d *=400d'),
  ).toEqual([
    { skill: 'docker-build', status: 'failed', keepDays: 365 },
    { skill: 'docker-build', keepDays: 30 },
    { status: 'failed', keepDays: 90 },
    { status: 'success', keepDays: 7 },
    { keepDays: 400 },
  ])
  expect(parseRetentionRules(' ')).toEqual([])
  // Names of skills are whatever programs call themselves.
  expect(parseRetentionRules('a/b=c/success=7d, a%2C%20b/*=7d')).toMatchObject([
    { skill: 'a/b=c', status: 'success' },
    { skill: 'a, b' },
  ])
})

test.each([
  ['success', /'success' is no rule of retention: write success=7d/],
  ['success=7', /'success=7' is no rule/],
  ['success=1d', /success: 2 to 36500 days, not 1/],
  ['running=7d', /the status is one of success, failed, timeout, or \*/],
  ['success=7d,success=8d', /two rules of retention for success/],
  ['a%/success=7d', /written %25/],
  [Array.from({ length: 101 }, (_, i) => `s${i}/*=7d`).join(), /at most 100 rules/],
])('%s is refused', (text, message) => {
  expect(() => parseRetentionRules(text)).toThrow(message)
})

const rule = fc.record(
  {
    skill: fc.oneof(fc.constantFrom('a', 'b/c', 'd, e%', 'f=2d'), fc.string({ minLength: 1, maxLength: 6 })),
    status: fc.constantFrom(...FINAL_STATUSES),
    keepDays: fc.integer({ min: 2, max: 400 }),
  },
  { requiredKeys: ['keepDays'] },
)
const rules = fc.uniqueArray(rule, { maxLength: 8, selector: classText })

test('what a rule is called reads as that rule', () => {
  fc.assert(
    fc.property(rules, (some) => {
      const text = some.map((one) => `${classText(one)}=${one.keepDays}d`).join()
      expect(parseRetentionRules(text)).toEqual(sortRules(some))
    }),
  )
})

test('of all rules that speak of a trace the most specific counts, and running ones belong to none', () => {
  fc.assert(
    fc.property(
      rules,
      fc.constantFrom('a', 'b/c', 'x'),
      fc.constantFrom(...FINAL_STATUSES),
      (some, skillName, status) => {
        const sorted = sortRules(some)
        const find = (skill: string | undefined, wanted: string | undefined): number =>
          sorted.findIndex((one) => one.skill === skill && one.status === wanted)
        const best = [
          find(skillName, status),
          find(skillName, undefined),
          find(undefined, status),
          find(undefined, undefined),
        ]
        expect(classOf(sorted, { skillName, status })).toBe(best.find((i) => i >= 0) ?? sorted.length)
        expect(classOf(sorted, { skillName, status: 'running' })).toBe(-1)
      },
    ),
  )
})

test('a class goes when the last moment of its month is older than it is kept, and months by their number', () => {
  const month = { year: 2026, month: 9 }
  const sorted = parseRetentionRules('success=7d, failed=90d')
  const at = (time: string, keepMonths = 0) => dueOf(month, { rules: sorted, keepMonths }, Date.parse(time))
  expect(new Date(expiryMs(month, sorted[1] as never))).toEqual(new Date('2026-10-08T00:00:00.000Z'))
  expect(at('2026-10-07T23:59:59.999Z').goes).toEqual([])
  expect(at('2026-10-08T00:00:00.000Z')).toMatchObject({
    goes: [1],
    whole: false,
    lookedFor: 'keep failed, success',
  })
  expect(at('2026-12-30T00:00:00.000Z').goes).toEqual([0, 1])
  // Two days into a month, for a day what is written to the one before is not noted.
  expect(at('2026-11-02T23:59:59.999Z', 2)).toMatchObject({ goes: [1], whole: false })
  expect(at('2026-10-02T23:59:59.999Z', 1)).toMatchObject({ goes: [], whole: false })
  // Whatever it is, and whatever the rules say.
  expect(at('2026-11-03T00:00:00.000Z', 2)).toMatchObject({ goes: [0, 1, 2], whole: true })
  expect(at('2026-10-03T00:00:00.000Z', 1)).toMatchObject({ goes: [0, 1, 2], whole: true })
})
