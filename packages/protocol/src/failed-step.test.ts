import { expect, test } from 'vitest'
import type { StepTuple } from './delta.ts'
import { failedStep } from './failed-step.ts'

const FAILED = 1
const TIMEOUT = 2

/** A step that failed, from when, for how long, in which. */
const broken = (
  id: number,
  name: string,
  startMs: number,
  durationMs: number,
  parent?: number,
): StepTuple => [id, name, startMs, durationMs, FAILED, null, parent ?? null]

test('of failed steps the one that ended last: earlier ones were got over', () => {
  const steps: StepTuple[] = [broken(1, 'try', 0, 5), broken(2, 'again', 10, 5), [3, 'report', 20, 5]]
  expect(failedStep('failed', steps)).toBe('again')
  expect(failedStep('failed', [broken(1, 'a', 0, 5), broken(2, 'b', 0, 5)])).toBe('b')
})

test('inside it, down to where it began', () => {
  const steps: StepTuple[] = [
    broken(1, 'build', 0, 100),
    broken(2, 'layers', 10, 80, 1),
    broken(3, 'pull', 10, 20, 2),
    broken(4, 'push', 40, 40, 2),
    [5, 'cleanup', 92, 5, 0, null, 1],
  ]
  expect(failedStep('failed', steps)).toBe('push')
  expect(failedStep('failed', steps.toReversed())).toBe('push')
})

test('where no step failed, the open one that started last; where none is open, none', () => {
  const steps: StepTuple[] = [
    [1, 'done', 0, 5],
    [2, 'open', 10],
    [3, 'in it', 20],
  ]
  expect(failedStep('failed', steps)).toBe('in it')
  expect(failedStep('failed', steps.slice(0, 1))).toBeNull()
  expect(failedStep('failed', [])).toBeNull()
})

test('a timeout names the step that it hangs in before one that failed', () => {
  const steps: StepTuple[] = [
    [1, 'call', 0, 5, TIMEOUT],
    [2, 'wait', 10],
  ]
  expect(failedStep('timeout', steps)).toBe('wait')
  expect(failedStep('timeout', steps.slice(0, 1))).toBe('call')
})

test('nothing that went well, or goes on, has one', () => {
  for (const status of ['success', 'running'] as const)
    expect(failedStep(status, [broken(1, 'a', 0, 1), [2, 'b', 3]])).toBeNull()
})

test('steps that claim to be in themselves, or in one another, come to an end', () => {
  expect(failedStep('failed', [broken(1, 'self', 0, 1, 1)])).toBe('self')
  expect(['a', 'b']).toContain(failedStep('failed', [broken(1, 'a', 0, 1, 2), broken(2, 'b', 0, 1, 1)]))
})
