import { canonicalJson, type Json, type Step, type Trace } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareTraces } from './compare-traces.ts'

const START = Date.UTC(2026, 5, 1)

type Given = [
  name: string,
  parent: string | undefined,
  startMs: number,
  durationMs: number,
  status?: Step['status'],
]

/** A trace of these steps; each has its place in the list as its id, and `parent` names the latest step of that name before it. */
function traceOf(given: readonly Given[], metadata: Trace['metadata'] = {}): Trace {
  const steps: Step[] = []
  for (const [i, [name, parent, startMs, durationMs, status = 'success']] of given.entries()) {
    const step: Step = { id: i + 1, name, status, durationMs, timestamp: new Date(START + startMs) }
    const parentId = steps.findLast((one) => one.name === parent)?.id
    if (parentId !== undefined) step.parentId = parentId
    if (status === 'failed') step.errorMessage = `${name} broke`
    steps.push(step)
  }
  return {
    traceId: '019ac678-d900-7000-8000-000000000001',
    skillName: 'build',
    status: given.some(([, , , , status]) => status === 'failed') ? 'failed' : 'success',
    startedAt: new Date(START),
    stepCount: steps.length,
    missingSteps: 0,
    metadata,
    steps,
  }
}

const good = traceOf([
  ['load', undefined, 0, 10],
  ['build', undefined, 10, 100],
  ['layer', 'build', 12, 20],
  ['layer', 'build', 40, 30],
  ['push', undefined, 120, 50],
])

test('a trace compared with itself: the same, to the last step', () => {
  const same = compareTraces(good, good)
  expect(same).toMatchObject({ sameCount: 5, statusCount: 0, missingCount: 0, addedCount: 0, metadata: [] })
  expect(same.firstDivergence).toBeUndefined()
  expect(same.steps.every(({ durationChangeMs }) => durationChangeMs === 0)).toBe(true)
  expect(same.steps.map(({ path, occurrence }) => `${path.join('/')} ${occurrence}`)).toEqual([
    'load 1',
    'build 1',
    'build/layer 1',
    'build/layer 2',
    'push 1',
  ])
})

test('a failed run beside a good one: what took longer, what failed first, what is missing, what came instead', () => {
  const bad = traceOf([
    ['load', undefined, 0, 25],
    ['build', undefined, 25, 80, 'failed'],
    ['layer', 'build', 27, 22],
    ['layer', 'build', 50, 45, 'failed'],
    ['cleanup', 'build', 96, 5],
    ['report', undefined, 110, 5],
  ])
  const { steps, firstDivergence, ...counts } = compareTraces(good, bad)
  expect(counts).toMatchObject({
    sameCount: 2,
    statusCount: 2,
    missingCount: 1,
    addedCount: 2,
    stepsTruncated: false,
  })
  expect(
    steps.map(({ path, change, durationChangeMs }) => [path.join('/'), change, durationChangeMs]),
  ).toEqual([
    ['load', 'same', 15],
    ['build', 'status', -20],
    ['build/layer', 'same', 2],
    ['build/layer', 'status', 15],
    ['build/cleanup', 'added', undefined],
    ['report', 'added', undefined],
    ['push', 'missing', undefined],
  ])
  // Not the build, which failed because of it.
  expect(firstDivergence).toMatchObject({
    path: ['build', 'layer'],
    occurrence: 2,
    a: { id: 4, startMs: 40, durationMs: 30, status: 'success' },
    b: { id: 4, startMs: 50, durationMs: 45, status: 'failed', errorMessage: 'layer broke' },
  })
})

test('metadata: by the path of each leaf, lists as a whole, whatever the order of keys', () => {
  const a = traceOf([], {
    env: 'prod',
    git: { sha: 'a', branch: 'main' },
    tags: ['x', { p: 1, q: 2 }],
    gone: null,
  })
  const b = traceOf([], {
    git: { branch: 'main', sha: 'b' },
    tags: ['x', { q: 2, p: 1 }],
    env: { name: 'prod' },
    new: 1,
  })
  expect(compareTraces(a, b).metadata).toEqual([
    { path: ['env'], a: 'prod', b: { name: 'prod' } },
    { path: ['git', 'sha'], a: 'a', b: 'b' },
    { path: ['gone'], a: null },
    { path: ['new'], b: 1 },
  ])
})

const anySteps = fc
  .array(
    fc.record({
      name: fc.constantFrom('a', 'b', '__proto__'),
      parent: fc.nat(12),
      startMs: fc.integer({ min: -5, max: 20 }),
      hasTime: fc.boolean(),
      status: fc.constantFrom<Step['status']>('success', 'failed', 'timeout', 'running'),
    }),
    { maxLength: 12 },
  )
  .map((given) =>
    given.map(
      ({ name, parent, startMs, hasTime, status }, i): Step => ({
        id: i + 1,
        name,
        status,
        // Any step, itself and those that lead back to it too, or one that is not there.
        parentId: parent + 1,
        ...(hasTime ? { timestamp: new Date(START + startMs) } : {}),
      }),
    ),
  )

test('whatever the steps, each has one place; turned round, what was added is missing', () => {
  fc.assert(
    fc.property(anySteps, anySteps, (stepsOfA, stepsOfB) => {
      const [a, b] = [
        { ...traceOf([]), steps: stepsOfA },
        { ...traceOf([]), steps: stepsOfB },
      ]
      const there = compareTraces(a, b)
      const idsOf = (side: 'a' | 'b'): unknown[] => there.steps.flatMap((step) => step[side]?.id ?? [])
      expect(idsOf('a').sort()).toEqual(stepsOfA.map(({ id }) => id).sort())
      expect(idsOf('b').sort()).toEqual(stepsOfB.map(({ id }) => id).sort())
      for (const { a, b } of there.steps) expect(a ?? b).toBeDefined()
      const back = compareTraces(b, a)
      expect([back.addedCount, back.missingCount, back.sameCount, back.statusCount]).toEqual([
        there.missingCount,
        there.addedCount,
        there.sameCount,
        there.statusCount,
      ])
      expect(compareTraces(a, a)).toMatchObject({
        sameCount: stepsOfA.length,
        addedCount: 0,
        missingCount: 0,
      })
    }),
    { numRuns: 300 },
  )
})

/** The key of the place of each step, by looking at all others: the same as in the sentence that says what a place is. */
function placesByHand(steps: readonly Step[]): Map<string, Step> {
  const order = steps.every(({ timestamp }) => timestamp !== undefined)
    ? steps.toSorted((x, y) => Number(x.timestamp) - Number(y.timestamp))
    : steps
  const keyOf = (step: Step): string => {
    const siblings = order.filter((one) => one.parentId === step.parentId && one.name === step.name)
    const parent = steps.find(({ id }) => id === step.parentId)
    return `${parent === undefined ? '' : `${keyOf(parent)}/`}${step.name}#${siblings.indexOf(step) + 1}`
  }
  return new Map(order.map((step) => [keyOf(step), step]))
}

const forest = fc
  .array(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      parent: fc.nat(),
      startMs: fc.nat(50),
      durationMs: fc.option(fc.nat(100), { nil: undefined }),
      status: fc.constantFrom<Step['status']>('success', 'failed'),
    }),
    { maxLength: 14 },
  )
  .chain((given) => fc.tuple(fc.constant(given), fc.boolean()))
  .map(([given, hasTimes]) =>
    given.map(({ name, parent, startMs, durationMs, status }, i): Step => {
      const step: Step = { id: i + 1, name, status }
      if (durationMs !== undefined) step.durationMs = durationMs
      if (hasTimes) step.timestamp = new Date(START + startMs)
      // One before it, or none.
      if (parent % (i + 1) > 0) step.parentId = parent % (i + 1)
      return step
    }),
  )

test('steps by their places, as looking at each pair finds them: what matches, durations and statuses side by side, what is missing or added, and what differs first', () => {
  fc.assert(
    fc.property(forest, forest, (stepsOfA, stepsOfB) => {
      const compared = compareTraces({ ...traceOf([]), steps: stepsOfA }, { ...traceOf([]), steps: stepsOfB })
      const [a, b] = [placesByHand(stepsOfA), placesByHand(stepsOfB)]
      const found = new Map(compared.steps.map((step) => [`${step.a?.id}/${step.b?.id}`, step]))
      for (const key of new Set([...a.keys(), ...b.keys()])) {
        const [inA, inB] = [a.get(key), b.get(key)]
        const step = found.get(`${inA?.id}/${inB?.id}`)
        const change =
          inB === undefined
            ? 'missing'
            : inA === undefined
              ? 'added'
              : inA.status === inB.status
                ? 'same'
                : 'status'
        expect(step?.change).toBe(change)
        expect(step?.path).toEqual(key.split('/').map((part) => part.replace(/#\d+$/, '')))
        expect(step?.occurrence).toBe(Number(/\d+$/.exec(key)?.[0]))
        expect([step?.a?.durationMs, step?.b?.durationMs, step?.a?.status, step?.b?.status]).toEqual([
          inA?.durationMs,
          inB?.durationMs,
          inA?.status,
          inB?.status,
        ])
        const both = inA?.durationMs !== undefined && inB?.durationMs !== undefined
        expect(step?.durationChangeMs).toBe(
          both ? Number(inB?.durationMs) - Number(inA?.durationMs) : undefined,
        )
      }
      expect(compared.steps).toHaveLength(new Set([...a.keys(), ...b.keys()]).size)
      for (const change of ['same', 'status', 'missing', 'added'] as const)
        expect(compared[`${change}Count`]).toBe(
          compared.steps.filter((step) => step.change === change).length,
        )

      // The order is that of a; and of those that end otherwise it is the innermost.
      const idsOfA = compared.steps.flatMap(({ a }) => a?.id ?? [])
      expect(idsOfA).toEqual([...a.values()].map(({ id }) => id))
      let first = compared.steps.find(({ change }) => change !== 'same')
      for (let inner = first; inner?.change === 'status'; ) {
        const { a: outerA, b: outerB } = inner
        inner = compared.steps.find(
          ({ change, a, b }) =>
            change !== 'same' &&
            ((a !== undefined && stepsOfA.find(({ id }) => id === a.id)?.parentId === outerA?.id) ||
              (a === undefined && stepsOfB.find(({ id }) => id === b?.id)?.parentId === outerB?.id)),
        )
        if (inner !== undefined) first = inner
      }
      expect(compared.firstDivergence).toEqual(first)
    }),
    { numRuns: 400, seed: 6 },
  )
})

test('metadata as looking at every path finds it: those where one is no object, and not the other alike', () => {
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(null, true, 0, 1, 'x'),
      fc.array(fc.constantFrom(0, 1), { maxLength: 2 }),
      tie('object'),
    ),
    object: fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), tie('value'), { maxKeys: 3 }),
  })).object as fc.Arbitrary<Trace['metadata']>
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const at = (value: unknown, path: readonly string[]): unknown =>
    path.reduce<unknown>(
      (in_, key) => (isObject(in_) && Object.hasOwn(in_, key) ? in_[key] : undefined),
      value,
    )
  const pathsOf = (value: unknown, path: string[] = []): string[][] =>
    isObject(value)
      ? Object.keys(value).flatMap((key) => [[...path, key], ...pathsOf(value[key], [...path, key])])
      : []
  const textOf = (value: unknown): string => (value === undefined ? '' : canonicalJson(value as Json))
  fc.assert(
    fc.property(json, json, (a, b) => {
      const all = new Map([...pathsOf(a), ...pathsOf(b)].map((path) => [path.join('/'), path]))
      const expected = [...all.values()].filter(
        (path) =>
          path.every((_, i) => isObject(at(a, path.slice(0, i))) && isObject(at(b, path.slice(0, i)))) &&
          !(isObject(at(a, path)) && isObject(at(b, path))) &&
          textOf(at(a, path)) !== textOf(at(b, path)),
      )
      const found = compareTraces(traceOf([], a), traceOf([], b)).metadata
      expect(found.map(({ path }) => path.join('/')).sort()).toEqual(
        expected.map((path) => path.join('/')).sort(),
      )
      for (const one of found) expect([one.a, one.b]).toEqual([at(a, one.path), at(b, one.path)])
    }),
    { numRuns: 400, seed: 6 },
  )
})

test('100,000 steps, each in the one before: linear, and cut where it says so', () => {
  const steps = Array.from(
    { length: 100_000 },
    (_, i): Step => ({ id: i + 1, name: 'in', status: 'success', parentId: i }),
  )
  const deep = { ...traceOf([]), steps }
  const { sameCount, stepsTruncated, steps: shown } = compareTraces(deep, deep, 10)
  expect([sameCount, stepsTruncated, shown.length]).toEqual([100_000, true, 10])
})
