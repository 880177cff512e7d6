import { AsyncResource } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { currentPlace, type Place, places } from './context.ts'
import { ExecutionTracer } from './index.ts'
import { memorySink } from './testing.ts'

function depth(): number {
  let deep = 0
  for (let place: Place | undefined = places.getStore(); place !== undefined; place = place.outer) deep += 1
  return deep
}

// A poller that sets its next round off in the round before: its flow never leaves the first trace.
test.each([0, 3])(
  'a flow that goes on from trace to trace, %i still open, keeps none that has ended',
  async (overlap) => {
    const tracer = new ExecutionTracer({ sink: memorySink() })
    const ends: (() => void)[] = []
    let inFlow = <T>(fn: () => T): T => fn()
    for (let round = 0; round < 100; round++) {
      inFlow(() =>
        tracer.trace(`round-${round}`, (t) => {
          inFlow = AsyncResource.bind((fn) => fn())
          t.step('work', () => expect(currentPlace()?.trace.traceId).toBe(t.traceId))
          return new Promise<void>((resolve) => ends.push(resolve))
        }),
      )
      if (ends.length > overlap) ends.shift()?.()
      await turn()
      // Twice as many as are open, and a few: they are let go when that is exceeded.
      expect(inFlow(depth)).toBeLessThanOrEqual(2 * (overlap + 1) + 9)
    }
    for (const end of ends) end()
    await tracer.close()
  },
)

test('traces that there is no room for and that nobody ends make no chain', async () => {
  const tracer = new ExecutionTracer({ sink: memorySink(), openTracesMax: 2, report: () => {} })
  for (let i = 0; i < 100; i++) tracer.startTrace('leaked')
  expect(depth()).toBe(3)
  expect(await tracer.close()).toMatchObject({ emitted: 100, sent: 2, dropped: { too_many_traces: 98 } })
})
