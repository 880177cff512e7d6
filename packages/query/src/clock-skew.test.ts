import type { Trace } from '@stepwell/protocol'
import { expect, test } from 'vitest'
import { clockSkew } from './clock-skew.ts'

const START = Date.UTC(2026, 5, 1)

function traceOf(endMs: number | undefined, ...startsMs: (number | undefined)[]): Trace {
  return {
    traceId: '019ac678-d900-7000-8000-000000000001',
    skillName: 'skewed',
    status: endMs === undefined ? 'running' : 'success',
    startedAt: new Date(START),
    ...(endMs === undefined ? {} : { completedAt: new Date(START + endMs) }),
    stepCount: startsMs.length,
    missingSteps: 0,
    metadata: {},
    steps: startsMs.map((ms, i) => ({
      id: i + 1,
      name: 'a',
      status: 'success',
      ...(ms === undefined ? {} : { timestamp: new Date(START + ms) }),
    })),
  }
}

const none = { stepsBefore: 0, beforeMs: 0, stepsAfter: 0, afterMs: 0, endBeforeStartMs: 0 }

test('times that fit, to a second, and times that are unknown say nothing', () => {
  expect(clockSkew(traceOf(500, -1_000, 0, 1_500, undefined))).toBeUndefined()
  expect(clockSkew(traceOf(undefined, 0, 900_000))).toBeUndefined()
  expect(clockSkew(traceOf(-1_000))).toBeUndefined()
})

test('steps before the start and after the end are counted, with the most that they are apart', () => {
  expect(clockSkew(traceOf(500, -600_000, -1_001, 0, 600_500))).toEqual({
    ...none,
    stepsBefore: 2,
    beforeMs: 600_000,
    stepsAfter: 1,
    afterMs: 600_000,
  })
})

test('an end before the start is told, and no step is after it for that', () => {
  expect(clockSkew(traceOf(-5_000, 0, 500))).toEqual({ ...none, endBeforeStartMs: 5_000 })
})
