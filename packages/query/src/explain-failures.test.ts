import { expect, test } from 'vitest'
import { explainFailures } from './explain-failures.ts'
import type { RunFacts } from './run-counts.ts'

/** Seeded (mulberry32, public domain): the same runs every time. */
function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A run like many: a few values in its metadata, some steps, heavy-tailed durations; nothing of it knows how the run ends. */
function anyRun(random: () => number): RunFacts {
  const pick = <T>(...values: T[]): T => values[Math.floor(random() * values.length)] as T
  const took = (): number => Math.exp(3 + 2 * (random() + random() + random() - 1.5))
  return {
    skillName: pick('build', 'deploy'),
    metadata: {
      env: pick('prod', 'prod', 'staging'),
      region: pick('eu', 'us', 'ap'),
      version: pick('1.0', '1.1', '1.2', '2.0'),
      git: { branch: pick('main', 'dev', 'fix', 'feature') },
      id: `run-${random()}`,
      size: Math.floor(random() * 1_000),
      canary: random() < 0.1,
      tags: ['nightly', 'gpu', 'arm', 'retry'].filter(() => random() < 0.3),
      sizes: [Math.floor(random() * 4), Math.floor(random() * 4)],
    },
    steps: [
      { name: 'load', durationMs: took() },
      { name: 'build', durationMs: took() },
      ...(random() < 0.3 ? [{ name: 'retry', durationMs: took() }] : []),
      ...(random() < 0.5 ? [{ name: 'push', durationMs: took() }] : []),
    ],
  }
}

const runs = (
  count: number,
  random: () => number,
  change: (run: RunFacts) => RunFacts = (run) => run,
): RunFacts[] => Array.from({ length: count }, () => change(anyRun(random)))

test('where nothing sets failing runs apart, at most 5 of 100 questions have a false finding', () => {
  let falseAlarms = 0
  const questions = 400
  for (let seed = 1; seed <= questions; seed++) {
    const random = seededRandom(seed)
    const { findings, testCount } = explainFailures(runs(60, random), runs(200, random))
    expect(testCount).toBeGreaterThan(15)
    falseAlarms += Number(findings.length > 0)
  }
  // 20 are allowed; that 33 or more come of them by chance has a probability of 0.3 %.
  expect(falseAlarms).toBeLessThan(33)
})

test('nor where few runs failed, and numbers that most runs have alike differ in some', () => {
  let falseAlarms = 0
  const questions = 150
  for (let seed = 1; seed <= questions; seed++) {
    const random = seededRandom(seed)
    const rarely = (share: number): number => (random() < share ? 1 + random() : 0)
    const some = (count: number): RunFacts[] =>
      Array.from({ length: count }, () => ({
        skillName: 'build',
        metadata: Object.fromEntries(
          Array.from({ length: 12 }, (_, i) => [`n${i}`, rarely(i < 6 ? 0.02 : 0.15)]),
        ),
        steps: [{ name: 'retry', durationMs: rarely(0.02) }],
      }))
    falseAlarms += Number(explainFailures(some(10), some(400)).findings.length > 0)
  }
  // 7.5 are allowed; that 15 or more come of them by chance has a probability of 0.9 %.
  expect(falseAlarms).toBeLessThan(15)
})

test('uncorrected there would be many: the correction is what keeps them away', () => {
  let falseAlarms = 0
  for (let seed = 1; seed <= 50; seed++) {
    const random = seededRandom(seed)
    const { findings, testCount } = explainFailures(runs(60, random), runs(200, random), 1)
    falseAlarms += Number(findings.some(({ pValue }) => pValue / testCount <= 0.05))
  }
  expect(falseAlarms).toBeGreaterThan(20)
})

test('planted causes are found, the strongest first, with their counts', () => {
  const random = seededRandom(7)
  const failing = runs(80, random, (run) => ({
    ...run,
    metadata: { ...run.metadata, ...(random() < 0.9 ? { git: { branch: 'feature' } } : {}) },
    steps: run.steps.map((one) =>
      one.name === 'load' ? { ...one, durationMs: (one.durationMs as number) * 4 } : one,
    ),
  }))
  const good = runs(300, random)
  const { findings, failingCount, goodCount } = explainFailures(failing, good)
  expect([failingCount, goodCount]).toEqual([80, 300])
  expect(findings[0]).toMatchObject({ kind: 'metadata', path: ['git', 'branch'], value: 'feature' })
  const branch = findings[0] as {
    failing: { count: number; of: number }
    good: { count: number; of: number }
    lift: number
  }
  const count = (some: RunFacts[]): number =>
    some.filter(({ metadata }) => (metadata.git as { branch: string }).branch === 'feature').length
  expect(branch.failing).toEqual({ count: count(failing), of: 80 })
  expect(branch.good).toEqual({ count: count(good), of: 300 })
  expect(branch.lift).toBeCloseTo(count(failing) / 80 / (count(good) / 300), 10)
  const load = findings.find((one) => one.kind === 'step_duration')
  expect(load).toMatchObject({ stepName: 'load', failing: { of: 80 }, good: { of: 300 } })
  expect((load as { superiority: number }).superiority).toBeGreaterThan(0.7)
  expect(findings.length).toBeLessThanOrEqual(3)
})

test('a step that only failing runs have; a number; a skill', () => {
  const random = seededRandom(8)
  const failing = runs(40, random, (run) => ({
    skillName: 'deploy',
    metadata: { ...run.metadata, size: 900 + Math.floor(random() * 100) },
    steps: [...run.steps, { name: 'rollback' }],
  }))
  const { findings } = explainFailures(failing, runs(200, random))
  expect(findings.find((one) => one.kind === 'step')).toMatchObject({
    stepName: 'rollback',
    lift: Number.POSITIVE_INFINITY,
    failing: { count: 40, of: 40 },
    good: { count: 0, of: 200 },
  })
  expect(findings.find((one) => one.kind === 'skill')).toMatchObject({ skillName: 'deploy' })
  expect(findings.find((one) => one.kind === 'metadata_number')).toMatchObject({ path: ['size'] })
})

test('a member of a list, named twice or not, wherever it stands in it', () => {
  const random = seededRandom(10)
  const withTags = (tags: string[]) => (run: RunFacts) => ({
    ...run,
    metadata: { ...run.metadata, tags: random() < 0.5 ? tags : [...tags].reverse() },
  })
  const failing = runs(40, random, withTags(['arm', 'gpu', 'gpu']))
  const { findings } = explainFailures(failing, runs(200, random, withTags(['arm', 'cpu'])))
  expect(findings).toEqual([
    {
      kind: 'metadata_member',
      path: ['tags'],
      value: 'gpu',
      failing: { count: 40, of: 40 },
      good: { count: 0, of: 200 },
      lift: Number.POSITIVE_INFINITY,
      pValue: expect.any(Number),
    },
  ])
})

test('a list that is very long hides nothing of the rest; and a value is not a list that has it', () => {
  const random = seededRandom(11)
  const parts = Array.from({ length: 500 }, (_, i) => i)
  const with_ = (more: RunFacts['metadata']) => (run: RunFacts) => ({
    ...run,
    metadata: { parts, ...run.metadata, ...more },
  })
  const failing = runs(40, random, with_({ zone: 'a', owner: ['team'] }))
  const { findings } = explainFailures(failing, runs(200, random, with_({ zone: 'b', owner: 'team' })))
  expect(findings.map((one) => ('value' in one ? [one.kind, one.path[0], one.value] : one))).toEqual([
    ['metadata', 'zone', 'a'],
    ['metadata_member', 'owner', 'team'],
  ])
})

test('without failing or good runs nothing is found', () => {
  const some = runs(20, seededRandom(9))
  for (const [failing, good] of [
    [[], []],
    [some, []],
    [[], some],
  ] as const)
    expect(explainFailures([...failing], [...good]).findings).toEqual([])
})
