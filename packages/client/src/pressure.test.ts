import type { Delta } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ExecutionTracer, type TraceHandle } from './index.ts'
import { memorySink } from './testing.ts'

const BUFFER_MAX_BYTES = 65_536
/** What goes over it at most: of an end with a short message, and of metadata that are marked as cut. */
const END_MAX_BYTES = 256
const MARK_MAX_BYTES = 64

/** What a host does, with texts of `size` characters; `which` tells the open run. `back`: the sink is there for a moment. */
const deed = fc.record({
  does: fc.constantFrom('start', 'start', 'step', 'step', 'end', 'end', 'set', 'back'),
  which: fc.nat(1_000),
  size: fc.nat(9_000),
})

/** A tracer whose sink is away, but for as long as `comeBack` takes. */
function openTracer() {
  const sink = memorySink()
  let isAway = true
  const tracer = new ExecutionTracer({
    sink: { ...sink, send: sink.send, isReady: () => !isAway },
    bufferMaxBytes: BUFFER_MAX_BYTES,
    report: () => {},
  })
  const deltasFrom = (frame: number): Delta[] =>
    sink.frames.slice(frame).flatMap(({ deltas }) => JSON.parse(deltas))
  return {
    tracer,
    deltas: () => deltasFrom(0),
    traces: sink.traces,
    /** Resolves when all that waited is sent, with its length. */
    async comeBack(): Promise<number> {
      const { length } = sink.frames
      isAway = false
      expect(await tracer.flush()).toBe(true)
      isAway = true
      return deltasFrom(length).reduce((sum, delta) => sum + lengthOf(delta), 0)
    },
  }
}

/** Metadata are kept for as long as their run is open: told again, they are no news. */
const lengthOf = ({ m, ...delta }: Delta): number =>
  JSON.stringify(delta).length + (delta.b === undefined ? 0 : JSON.stringify(m).length)

/** A run that is open until it is told how it ends. */
function openRun(tracer: ExecutionTracer, size: number) {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let trace: TraceHandle | undefined
  const over = tracer.trace('run', { metadata: 'x'.repeat(size) }, (t) => {
    trace = t
    return promise
  })
  return {
    trace: trace as unknown as TraceHandle,
    async end(message: string): Promise<void> {
      if (message === '') resolve()
      else reject(new Error(message))
      await over.catch(() => {})
    },
  }
}

test('whatever is recorded while the sink is away: a start that is sent has its end, memory stays bounded, each event is counted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 100, size: 'max' }), async (deeds) => {
      const { tracer, deltas, traces, comeBack } = openTracer()
      const open: ReturnType<typeof openRun>[] = []
      let maxBytes = BUFFER_MAX_BYTES
      for (const { does, which, size } of [...deeds, { does: 'back', which: 0, size: 0 } as const]) {
        const at = which % Math.max(1, open.length)
        const text = 'x'.repeat(size)
        if (does === 'start') {
          open.push(openRun(tracer, size))
          maxBytes += END_MAX_BYTES
        } else if (does === 'step') open[at]?.trace.recordStep('step', 1, 'failed', text)
        else if (does === 'end') await open.splice(at, 1)[0]?.end(text)
        else if (does === 'set') {
          open[at]?.trace.set({ text })
          maxBytes += MARK_MAX_BYTES
        } else {
          expect(await comeBack()).toBeLessThan(maxBytes)
          maxBytes = BUFFER_MAX_BYTES + open.length * END_MAX_BYTES
        }
      }
      for (const run of open) await run.end('over')
      await comeBack()

      expect(traces().filter((trace) => trace.status === 'running')).toEqual([])
      const eventsOf = ({ b, s = [], e }: Delta): number =>
        Number(b ?? 0) + s.length + (e === undefined ? 0 : 1)
      const { emitted, sent, buffered, dropped } = tracer.counters()
      const arrived = deltas().reduce((sum, delta) => sum + eventsOf(delta), 0)
      expect({ sent, buffered }).toEqual({ sent: arrived, buffered: 0 })
      expect(emitted).toBe(sent + (dropped.buffer_full ?? 0))
      // None of the buffer's room has leaked away.
      tracer.startTrace('large', { metadata: 'x'.repeat(60_000) })
      expect(tracer.counters().buffered).toBe(1)
      await tracer.close({ timeoutMs: 0 })
    }),
    { numRuns: 150, endOnFailure: true, seed: 20_261_126 },
  )
})

test('an end for which the buffer is too full goes with a short message', async () => {
  const { tracer, traces, comeBack } = openTracer()
  const run = openRun(tracer, 40_000)
  tracer.startTrace('fills the rest', { metadata: 'x'.repeat(22_000) })
  const message = 'no room '.repeat(1_000)
  await run.end(message)
  await comeBack()
  expect(traces()[0]).toMatchObject({ status: 'failed', errorMessage: `${message.slice(0, 127)}…` })
  await tracer.close()
})
