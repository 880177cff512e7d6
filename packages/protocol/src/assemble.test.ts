import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assemble, canonicalStep, derive, openStep, type TraceState } from './assemble.ts'
import type { Delta, Said, StepTuple } from './delta.ts'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { rowOfState, sameRow, stateOfRow, type TraceRow } from './row.ts'

const plain = (row: TraceRow): unknown => JSON.parse(JSON.stringify(row))

/** The row as it comes back from the table. */
function stored(row: TraceRow): TraceRow {
  const copy = JSON.parse(JSON.stringify(row)) as TraceRow
  copy.started_at = new Date(copy.started_at)
  if (copy.completed_at !== null) copy.completed_at = new Date(copy.completed_at)
  return copy
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const item of Object.values(value)) freeze(item)
    Object.freeze(value)
  }
  return value
}

/** Puts one group after the other into the stored row, as workers do. */
function writeInGroups(groups: readonly (readonly Said[])[], maxSteps: number): TraceRow {
  let row: TraceRow | undefined
  for (const group of groups) {
    const state = assemble(group, row && freeze(stateOfRow(stored(row))), maxSteps)
    row = rowOfState(state)
  }
  return row as TraceRow
}

function expectSame(actual: TraceRow, expected: TraceRow): void {
  expect(plain(actual)).toEqual(plain(expected))
  expect(sameRow(actual, expected)).toBe(true)
}

/** All deltas in another order, some of them again, cut into groups. */
const delivery = (all: readonly Said[]): fc.Arbitrary<Said[][]> =>
  fc
    .tuple(
      fc.array(fc.nat(all.length - 1), { maxLength: 6 }),
      fc.infiniteStream(fc.nat()),
      fc.infiniteStream(fc.boolean()),
    )
    .map(([again, keys, cuts]) => {
      const order = [...all.keys(), ...again].map((index) => ({ index, key: keys.next().value as number }))
      order.sort((a, b) => a.key - b.key)
      const groups: Said[][] = []
      for (const { index } of order) {
        if (groups.length === 0 || cuts.next().value) groups.push([])
        groups.at(-1)?.push(all[index] as Said)
      }
      return groups
    })

const deliveries = saidOfOneTrace.chain((all) => fc.tuple(fc.constant(all), delivery(all), delivery(all)))
const limits = fc.constantFrom(3, 1, 10_000)

describe('the merge law', () => {
  test('any order, duplication and grouping, through stored rows, gives the row of all at once', () => {
    fc.assert(
      fc.property(deliveries, limits, ([all, one, other], maxSteps) => {
        freeze(all)
        const whole = rowOfState(assemble(all, undefined, maxSteps))
        expectSame(writeInGroups(one, maxSteps), whole)
        expectSame(writeInGroups(other, maxSteps), whole)
      }),
      { numRuns: 1_500 },
    )
  })

  test('is commutative and associative: of two deltas and a third', () => {
    fc.assert(
      fc.property(saidOfOneTrace, limits, (all, maxSteps) => {
        const [a, b = a, c = b] = all as [Said, Said?, Said?]
        const abc = writeInGroups([[a], [b], [c]], maxSteps)
        expectSame(writeInGroups([[a], [b, c]], maxSteps), abc)
        expectSame(writeInGroups([[c, b, a]], maxSteps), abc)
        expectSame(writeInGroups([[b], [c, a]], maxSteps), abc)
      }),
      { numRuns: 1_000 },
    )
  })

  test('is idempotent: what is stored already changes nothing', () => {
    fc.assert(
      fc.property(saidOfOneTrace, limits, (all, maxSteps) => {
        const row = rowOfState(assemble(all, undefined, maxSteps))
        expectSame(rowOfState(assemble([], stateOfRow(stored(row)), maxSteps)), row)
        expectSame(rowOfState(assemble(all, stateOfRow(stored(row)), maxSteps)), row)
      }),
      { numRuns: 1_000 },
    )
  })

  test('a row holds the whole state, but for the limit of an ended trace', () => {
    fc.assert(
      fc.property(saidOfOneTrace, limits, (all, maxSteps) => {
        const state = assemble(all, undefined, maxSteps)
        const expected = state.end === null ? state : { ...state, limitMs: null }
        const back = stateOfRow(stored(rowOfState(state)))
        expect(JSON.parse(JSON.stringify(back))).toEqual(JSON.parse(JSON.stringify(expected)))
      }),
      { numRuns: 1_000 },
    )
  })

  test('a producer may be called like a property of every object', () => {
    const delta: Delta = {
      t: '019ac678-d900-7000-8000-000000000001',
      s: [
        ['__proto__.1', 'a', 0, 1],
        ['constructor.1', 'b'],
      ],
      n: [3, 2],
    }
    const state = assemble([
      { producer: '__proto__', delta },
      { producer: 'constructor', delta },
    ])
    // Of the first one started step 2 of 3 and one completion are missing, and of the second as many and its completion.
    expect(derive(state).missingSteps).toBe(4)
    const again = stateOfRow(stored(rowOfState(state)))
    expect(derive(again).missingSteps).toBe(4)
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(Object.keys(Object)).toEqual([])
  })
})

const T = '019ac678-d900-7000-8000-000000000001'
const START = 1_764_266_400_000
const of = (...deltas: Omit<Delta, 't'>[]): TraceState =>
  assemble(deltas.map((delta) => ({ producer: '', delta: { t: T, ...delta } })))
const ended = (...ends: NonNullable<Delta['e']>[]): TraceState =>
  of(...ends.map((e) => ({ n: [0, 0] as [number, number], e })))

describe('parts', () => {
  test('a trace starts at the milliseconds of its id, whatever else is said', () => {
    expect(of({ n: [0, 0], at: 5 }).startedAtMs).toBe(START)
  })

  test('a foreign id takes the start that the delta tells, in whole milliseconds', () => {
    const delta = {
      t: '0fee1bad-0000-4000-8000-00000000cafe',
      at: START + 0.9,
      n: [0, 0] as [number, number],
    }
    expect(assemble([{ producer: '', delta }]).startedAtMs).toBe(START)
  })

  test('a final status wins over a timeout, however late the timeout', () => {
    expect(ended(['t', 9_000, 9_000], ['s', 5, 5]).end?.status).toBe('success')
    expect(ended(['s', null, null], ['t', 9_000, 9_000]).end?.status).toBe('success')
  })

  test('of two final ends the later counts, of two at once the failed one', () => {
    expect(ended(['f', 4, 4], ['s', 5, 5]).end?.status).toBe('success')
    expect(ended(['s', 5, 5], ['f', 5, 5, 'no']).end).toEqual({
      status: 'failed',
      completedAtMs: START + 5,
      durationMs: 5,
      errorMessage: 'no',
    })
  })

  test('an end is taken as a whole: the message of one is never put to the time of another', () => {
    expect(ended(['f', 4, 4, 'no'], ['f', 5, null]).end).toEqual({
      status: 'failed',
      completedAtMs: START + 5,
      durationMs: null,
      errorMessage: null,
    })
  })

  test('an open step gives way to the completed one, that to the corrected one', () => {
    const open: StepTuple = [1, 'a', 1]
    const completed: StepTuple = [1, 'a', 1, 10]
    const corrected: StepTuple = [1, 'a', 1, 5, 1, 'no', null, null, 1]
    const steps = (...list: StepTuple[]): StepTuple[] =>
      of(...list.map((s) => ({ s: [s], n: [1, 1] as [number, number] }))).steps
    expect(steps(completed, open)).toEqual([completed])
    expect(steps(corrected, completed, open)).toEqual([corrected])
  })

  test('steps stand in the order of their ids: numbers, then text, then other producers by number', () => {
    const s: StepTuple[] = [
      ['b.10', 'x'],
      ['b.9', 'x'],
      ['load', 'x'],
      [10, 'x'],
      [9, 'x'],
      ['a.11', 'x'],
    ]
    expect(of({ s, n: [0, 0] }).steps.map(([id]) => id)).toEqual([9, 10, 'load', 'a.11', 'b.9', 'b.10'])
  })

  test('over the limit the smallest ids stay, and the others are missing', () => {
    const delta: Delta = {
      t: T,
      s: [
        [3, 'c', 0, 1],
        [1, 'a', 0, 1],
        [2, 'b', 0, 1],
      ],
      n: [3, 3],
    }
    const state = assemble([{ producer: '', delta }], undefined, 2)
    expect(state.steps.map(([id]) => id)).toEqual([1, 2])
    expect(derive(state).missingSteps).toBe(1)
  })

  test('metadata is replaced by a later revision as a whole, and only by the owner', () => {
    const first = { k: 'build', m: { a: 1, b: 2 }, r: 1, n: [0, 0] as [number, number] }
    expect(of(first, { k: 'build', m: { c: 3 }, r: 2, n: [0, 0] }).metadata).toEqual({ c: 3 })
    expect(of(first, { k: 'build', m: {}, r: 2, n: [0, 0] }).metadata).toEqual({})
    expect(of(first, { m: { c: 3 }, r: 2, n: [0, 0] }).metadata).toEqual({ a: 1, b: 2 })
  })
})

describe('derived', () => {
  test('a trace without an end runs', () => {
    expect(derive(of({ k: 'build', n: [1, 0], s: [[1, 'a', 0]] }))).toEqual({
      status: 'running',
      errorMessage: null,
      errorIsDerived: false,
      missingSteps: 0,
    })
  })

  test('what a producer recorded and is not there is missing, started or completed', () => {
    expect(derive(of({ n: [3, 2], s: [[1, 'a', 0, 1]] })).missingSteps).toBe(2)
    expect(
      derive(
        of({
          n: [2, 2],
          s: [
            [1, 'a', 0, 1],
            [2, 'b', 1],
          ],
        }),
      ).missingSteps,
    ).toBe(1)
    expect(
      derive(
        of({
          n: [1, 1],
          s: [
            [1, 'a', 0, 1],
            [2, 'b', 1, 1],
          ],
        }),
      ).missingSteps,
    ).toBe(0)
  })

  test("one producer's surplus does not hide another's hole", () => {
    const a = {
      t: T,
      n: [1, 1] as [number, number],
      s: [
        ['a.1', 'x', 0, 1],
        ['a.2', 'x', 0, 1],
      ] as StepTuple[],
    }
    const state = assemble([
      { producer: 'a', delta: a },
      { producer: 'b', delta: { t: T, n: [1, 0] } },
    ])
    expect(derive(state).missingSteps).toBe(1)
  })

  test('a failed trace without a message takes that of the failed step that ended last', () => {
    const s: StepTuple[] = [
      [1, 'a', 0, 100, 1, 'late'],
      [2, 'b', 5, 5, 1, 'early'],
      [3, 'c', 500, 5, 0, 'not failed'],
    ]
    const state = of({ n: [3, 3], s, e: ['f', 600, 600] })
    expect(derive(state)).toMatchObject({ errorMessage: 'late', errorIsDerived: true })
    expect(derive(of({ n: [3, 3], s, e: ['f', 600, 600, 'own'] })).errorMessage).toBe('own')
    expect(derive(of({ n: [3, 3], s, e: ['s', 600, 600] })).errorMessage).toBeNull()
  })

  test('the step a trace hangs in is the open one that started last', () => {
    expect(
      openStep(
        of({
          n: [3, 1],
          s: [
            [1, 'a', 0],
            [2, 'b', 5],
            [3, 'c', 9, 1],
          ],
        }),
      )?.[1],
    ).toBe('b')
    expect(openStep(of({ n: [0, 0] }))).toBeUndefined()
  })
})

test('a step has one spelling', () => {
  expect(canonicalStep([1, 'a', null, null, 0, null, null, null, 0])).toEqual([1, 'a'])
  expect(canonicalStep([1, 'a', undefined, 5, undefined, 'no'] as never)).toEqual([1, 'a', null, 5, 0, 'no'])
})
