import { describe, expect, test } from 'vitest'
import { assemble, type TraceState } from './assemble.ts'
import type { Delta } from './delta.ts'
import { rowOfState, sameRow, stateOfRow, stepOfTuple, summaryOfRow, traceOfRow } from './row.ts'

const T = '019ac678-d900-7000-8000-000000000001'
const PARENT = '019ac678-d900-7000-8000-000000000002'
const START = Date.UTC(2025, 10, 27, 18)
const of = (delta: Omit<Delta, 't'>): TraceState => assemble([{ producer: '', delta: { t: T, ...delta } }])

describe('the row of a trace', () => {
  test('that is whole holds nothing for the next merge', () => {
    const row = rowOfState(
      of({ b: 1, k: 'build', m: { a: 1 }, r: 1, s: [[1, 'a', 0, 1]], n: [1, 1], e: ['s', 5, 5] }),
    )
    expect(row.merge_state).toBeNull()
  })

  test('holds for the next merge what no column tells', () => {
    const delta: Omit<Delta, 't'> = {
      k: 'build',
      m: { a: 1 },
      r: 3,
      l: 60_000,
      s: [[1, 'a', 0, 1, 1, 'no']],
      n: [2, 1],
    }
    expect(rowOfState(of(delta)).merge_state).toEqual({
      expected: { '': [2, 1] },
      revision: 3,
      limit_ms: 60_000,
    })
    expect(rowOfState(of({ ...delta, e: ['f', 5, 5] })).merge_state).toEqual({
      expected: { '': [2, 1] },
      revision: 3,
      derived_error: true,
    })
  })

  test('gives back the state, whatever the parent is', () => {
    for (const stepId of [null, 3, 'load', 'a.3']) {
      for (const root of [null, PARENT]) {
        const state = of({ k: 'build', u: [PARENT, stepId, root], n: [0, 0] })
        expect(stateOfRow(rowOfState(state))).toEqual(state)
      }
    }
  })

  test('is the same however its JSON is ordered, and not if anything differs', () => {
    const row = rowOfState(of({ k: 'build', m: { a: 1, b: { c: 2, d: 3 } }, s: [[1, 'a']], n: [1, 0] }))
    expect(sameRow(row, { ...row, metadata: { b: { d: 3, c: 2 }, a: 1 } })).toBe(true)
    expect(sameRow(row, { ...row, metadata: { a: 1 } })).toBe(false)
    expect(sameRow(row, { ...row, started_at: new Date(START + 1) })).toBe(false)
    expect(sameRow(row, { ...row, steps: [[1, 'a', 0]] })).toBe(false)
    expect(sameRow(row, { ...row, merge_state: { revision: 2 } })).toBe(false)
  })
})

describe('as people see it', () => {
  test('what is unknown is absent', () => {
    expect(summaryOfRow(rowOfState(of({ n: [0, 0] })))).toEqual({
      traceId: T,
      skillName: '',
      status: 'running',
      startedAt: new Date(START),
      stepCount: 0,
      missingSteps: 0,
      metadata: {},
    })
  })

  test('a summary tells all but the steps', () => {
    const row = rowOfState(
      of({
        k: 'build',
        x: 'exec-1',
        m: { a: 1 },
        u: [PARENT, 3, PARENT],
        s: [[1, 'a', 0, 1]],
        n: [2, 2],
        e: ['f', 5.5, 5.25, 'no'],
      }),
    )
    const summary = {
      traceId: T,
      skillName: 'build',
      executionId: 'exec-1',
      status: 'failed',
      startedAt: new Date(START),
      completedAt: new Date(START + 5),
      totalDurationMs: 5.25,
      stepCount: 1,
      missingSteps: 1,
      errorMessage: 'no',
      metadata: { a: 1 },
      parentTraceId: PARENT,
      parentStepId: 3,
      rootTraceId: PARENT,
    }
    expect(summaryOfRow(row)).toEqual(summary)
    expect(traceOfRow(row)).toEqual({
      ...summary,
      steps: [{ id: 1, name: 'a', status: 'success', timestamp: new Date(START), durationMs: 1 }],
    })
  })

  test('a step without a duration is running, whatever its status says', () => {
    expect(stepOfTuple([1, 'a', 0, null, 1], START)).toEqual({
      id: 1,
      name: 'a',
      status: 'running',
      timestamp: new Date(START),
    })
  })

  test('a step tells its times, status, error, parent and attributes', () => {
    expect(stepOfTuple(['p.1', 'a', -5, 0, 2, 'slow', 1, { x: 1 }, 2], START)).toEqual({
      id: 'p.1',
      name: 'a',
      status: 'timeout',
      timestamp: new Date(START - 5),
      durationMs: 0,
      errorMessage: 'slow',
      parentId: 1,
      attributes: { x: 1 },
    })
  })

  test('a step whose start is unknown has no timestamp', () => {
    expect(stepOfTuple([1, 'a', null, 5], START)).toEqual({
      id: 1,
      name: 'a',
      status: 'success',
      durationMs: 5,
    })
  })
})
