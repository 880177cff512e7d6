import { expect, test } from 'vitest'
import { ExecutionTracer } from './index.ts'
import { RecentSteps } from './recent-steps.ts'
import { Slab } from './slab.ts'
import { Stretch } from './stretch.ts'
import { memorySink } from './testing.ts'

function stretchOf(first: number, steps: number): Stretch {
  const bytes = Buffer.from(Array.from({ length: steps }, (_, i) => `[${first + i},"s"]`).join(','))
  return new Stretch(new Slab(bytes), 0, bytes.length, bytes.length, steps)
}

test('the latest thousand stay, whole stretches before them go, and all that was taken of the budget comes back', () => {
  const budget = { used: 0, max: 1_000_000 }
  const recent = new RecentSteps(budget)
  for (let i = 0; i < 100; i++) recent.add(stretchOf(i * 70, 70))
  expect(recent.latest().map(([id]) => id)).toEqual(Array.from({ length: 1_000 }, (_, i) => 6_000 + i))
  expect(budget.used).toBeLessThan(1_100 * '[6000,"s"],'.length + 16 * 64)
  recent.clear()
  expect(recent.latest()).toEqual([])
  expect(budget.used).toBe(0)
})

test('where all take too much the one that grows keeps its very latest', () => {
  const budget = { used: 900, max: 1_000 }
  const recent = new RecentSteps(budget)
  recent.add(stretchOf(1, 2))
  recent.add(stretchOf(3, 2))
  expect(recent.latest().map(([id]) => id)).toEqual([3, 4])
})

test('what ends after its trace takes nothing of what others may keep', async () => {
  const tracer = new ExecutionTracer({ sink: memorySink(), bufferMaxBytes: 65_536 })
  for (let i = 0; i < 2_000; i++) tracer.trace('ended', (t) => t.startStep('late')).end()
  const steps = tracer.trace('open', (t) => {
    for (let i = 0; i < 3; i++) t.recordStep('step', i)
    return tracer.getCurrentTrace()?.steps
  })
  expect(steps?.length).toBe(3)
  await tracer.close()
})
