import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ExecutionTracer, step, TraceRecorder } from './index.ts'
import { type MemorySink, memorySink } from './testing.ts'
import { FRAME_MAX_EVENTS } from './waiting.ts'

let sink: MemorySink
let tracer: ExecutionTracer

beforeEach(() => {
  sink = memorySink()
  tracer = new ExecutionTracer({ sink })
})
afterEach(async () => {
  const { emitted, sent, buffered, dropped } = await tracer.close()
  expect(emitted).toBe(sent + buffered + Object.values(dropped).reduce((sum, n) => sum + n, 0))
})

describe('sending', () => {
  test('a long trace travels in several deltas, and is whole', async () => {
    tracer.startTrace('long')
    const recorder = new TraceRecorder(tracer)
    for (let i = 0; i < 20_000; i++) recorder.recordStep(`a step with a somewhat longer name ${i % 50}`, i)
    tracer.endTrace()
    await tracer.flush()
    expect(sink.frames.length).toBeGreaterThan(3)
    for (const frame of sink.frames) expect(frame.deltas.length).toBeLessThan(300_000)
    expect(sink.traces()).toMatchObject([{ status: 'success', missingSteps: 10_000, stepCount: 10_000 }])
  })

  test('an open trace and its open steps are told of, and completed later', async () => {
    tracer.startTrace('open')
    const recorder = new TraceRecorder(tracer)
    recorder.startStep('slow', { attributes: { n: 1 } })
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      { status: 'running', steps: [{ name: 'slow', status: 'running', attributes: { n: 1 } }] },
    ])
    recorder.endStep('slow')
    tracer.endTrace()
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      { status: 'success', missingSteps: 0, steps: [{ name: 'slow', status: 'success' }] },
    ])
  })

  test('thousands of open steps travel in several frames, and are held up to a limit', async () => {
    tracer.startTrace('leaky')
    const recorder = new TraceRecorder(tracer)
    for (let i = 0; i < 12_000; i++) recorder.startStep(`a step with a somewhat longer name ${i}`)
    expect(tracer.getCurrentTrace()).toMatchObject({ stepCount: 12_000, steps: { length: 10_000 } })
    tracer.endTrace()
    await tracer.flush()
    for (const frame of sink.frames) expect(frame.deltas.length).toBeLessThan(300_000)
    expect(sink.frames.length).toBeGreaterThan(2)
    // Those that were let go unseen are known to be missing.
    expect(sink.traces()).toMatchObject([{ status: 'success', stepCount: 10_000, missingSteps: 2_000 }])
  })

  test('a step that completes after the end of its trace is merged', async () => {
    let finish = () => {}
    await tracer.trace('early end', async (t) => {
      const late = t.startStep('late')
      finish = () => late.end()
    })
    await tracer.flush()
    finish()
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      { status: 'success', missingSteps: 0, steps: [{ name: 'late', status: 'success' }] },
    ])
  })

  test('what ended goes as soon as it fills a frame, also after many late steps', async () => {
    const calm = new ExecutionTracer({ sink, flushIntervalMs: 60_000 })
    for (let i = 0; i < 20; i++) {
      const late: (() => void)[] = []
      calm.trace('early end', (t) => {
        for (let k = 0; k < 20; k++) {
          const open = t.startStep('late')
          late.push(() => open.end())
        }
      })
      for (const end of late) end()
      await calm.flush()
    }
    sink.clear()
    for (let i = 0; i < FRAME_MAX_EVENTS / 2; i++) calm.trace('full', () => {})
    await expect.poll(() => sink.frames.length).toBeGreaterThan(0)
    await calm.close()
  })

  test('nothing of an open trace waits for longer than an interval', async () => {
    const flushIntervalMs = 600
    const calm = new ExecutionTracer({ sink, flushIntervalMs })
    const startMs = performance.now()
    calm.startTrace('first')
    // Too young to go with the first.
    await expect.poll(() => performance.now() - startMs, { interval: 10 }).toBeGreaterThan(330)
    calm.startTrace('second')
    // By the clock of its timers: on a busy machine all of them are late, and still come in their order.
    let sentInTime: number | undefined
    setTimeout(() => {
      sentInTime = sink.find('second').length
    }, 1.3 * flushIntervalMs)
    await expect.poll(() => sentInTime, { interval: 10 }).toBe(1)
    expect(sink.frames).toHaveLength(2)
    await calm.close()
  })

  test('frames whose answer is lost are sent again, unchanged and under their number', async () => {
    const seen = new Set<number>()
    const forgetful = memorySink()
    const patient = new ExecutionTracer({
      sink: {
        ...forgetful,
        async send(frame) {
          await forgetful.send(frame)
          if (seen.has(frame.number)) return
          seen.add(frame.number)
          throw new Error('the connection broke before the answer')
        },
      },
      report: () => {},
    })
    for (let i = 0; i < 500; i++) patient.trace('twice', (t) => t.recordStep(`step-${i}`, 1))
    expect(await patient.flush({ timeoutMs: 60_000 })).toBe(true)
    expect(await patient.close()).toEqual({ emitted: 1_500, sent: 1_500, buffered: 0, dropped: {} })
    const { frames } = forgetful
    expect(frames.length).toBe(2 * seen.size)
    for (const number of seen) {
      const [first, again] = frames.filter((frame) => frame.number === number)
      expect(again).toBe(first)
    }
    expect(forgetful.traces()).toHaveLength(500)
  })

  test('a sink that is not ready: memory is bounded, steps go first, starts and ends survive, all is counted', async () => {
    let isReady = false
    const slow = memorySink()
    const reports: string[] = []
    const bounded = new ExecutionTracer({
      sink: { ...slow, isReady: () => isReady, send: slow.send },
      bufferMaxBytes: 65_536,
      report: ({ kind, message }) => reports.push(`${kind}: ${message}`),
    })
    const text = 'x'.repeat(1_000)
    for (let i = 0; i < 20; i++) {
      bounded.trace('squeezed', (t) => {
        for (let k = 0; k < 10; k++) t.recordStep('big', 1, 'failed', text)
      })
    }
    const { emitted, buffered, dropped } = bounded.counters()
    expect(emitted).toBe(20 * 12)
    expect(dropped.buffer_full).toBeGreaterThan(100)
    expect(buffered + (dropped.buffer_full ?? 0)).toBe(emitted)
    isReady = true
    expect(await bounded.flush()).toBe(true)
    const frames = slow.traces()
    expect(frames.length).toBeGreaterThanOrEqual(15)
    for (const trace of frames) {
      expect(trace.status).toBe('success')
      expect(trace.stepCount + trace.missingSteps).toBe(10)
    }
    expect(reports).toHaveLength(2)
    expect(reports[0]).toMatch(/^trouble: .*buffer_full/)
    expect(reports[1]).toMatch(/^recovered: .*\d+ buffer_full/)
    await bounded.close()
  })

  test('a sink that takes one frame and refuses the next, as a full Redis does, is one episode', async () => {
    const slow = memorySink()
    const kinds: string[] = []
    let calls = 0
    const flapping = new ExecutionTracer({
      sink: {
        ...slow,
        send: async (frame) =>
          calls++ % 2 === 0 || calls > 40 ? slow.send(frame) : Promise.reject(new Error('OOM')),
      },
      report: ({ kind }) => kinds.push(kind),
    })
    for (let i = 0; i < 30; i++) {
      for (let k = 0; k < 256; k++) flapping.trace('flapping', () => {})
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await flapping.flush()).toBe(true)
    expect(kinds).toEqual(['trouble', 'recovered'])
    expect(await flapping.close()).toMatchObject({ sent: 30 * 512, dropped: {} })
  })

  test('a reporter that rejects and an error without a text stay away from the host', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown): unknown => unhandled.push(error)
    process.on('unhandledRejection', note)
    let isDown = true
    const broken = memorySink()
    const reporting = new ExecutionTracer({
      sink: { ...broken, send: async () => (isDown ? Promise.reject(Object.create(null)) : undefined) },
      report: async ({ message }) => Promise.reject(message),
    })
    reporting.trace('reported', () => {})
    setTimeout(() => {
      isDown = false
    }, 20)
    expect(await reporting.flush()).toBe(true)
    await reporting.close()
    await new Promise((resolve) => setTimeout(resolve, 10))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  test('after close nothing is recorded, and nothing throws', async () => {
    tracer.startTrace('left open')
    await tracer.close()
    expect(tracer.trace('late', (t) => t.step('x', () => 7))).toBe(7)
    expect(tracer.counters().dropped).toEqual({ closed: 3 })
    expect(await tracer.close()).toMatchObject({ sent: 1 })
  })

  test('what is recorded while the sink closes is counted as lost', async () => {
    const slow = memorySink()
    const closing = new ExecutionTracer({
      sink: {
        ...slow,
        send: slow.send,
        close: async () => void closing.trace('too late', () => {}),
      },
    })
    expect(await closing.close()).toEqual({ emitted: 2, sent: 0, buffered: 0, dropped: { closed: 2 } })
  })

  test.each([Number.POSITIVE_INFINITY, undefined, null, 'soon'])(
    'flush and close take a time-out of %s',
    async (timeoutMs) => {
      const slow = memorySink()
      const patient = new ExecutionTracer({
        sink: { ...slow, send: () => new Promise((resolve) => setTimeout(resolve, 30)) },
      })
      patient.trace('slow', () => {})
      expect(await patient.flush({ timeoutMs } as never)).toBe(true)
      expect(await patient.flush(null as never)).toBe(true)
      patient.trace('slow', () => {})
      expect(await patient.close({ timeoutMs } as never)).toMatchObject({ sent: 4, dropped: {} })
    },
  )

  test('a disabled tracer runs the code and does nothing else', async () => {
    const off = new ExecutionTracer({ disabled: true })
    const recorder = new TraceRecorder(off)
    expect(
      off.trace('x', (t) =>
        t.step('y', (s) => {
          s.set({ a: 1 })
          t.set({})
          return t.recordStep('z', 1) && 5
        }),
      ),
    ).toBe(5)
    off.startTrace('x')
    recorder.startStep('a')
    expect(recorder.endStep('a', 'failed')).toEqual({ id: 0, name: '', status: 'success' })
    expect(recorder.recordStep('b', 5)).toEqual({ id: 0, name: '', status: 'success' })
    await using remote = off.attach({ executionId: 'e' })
    expect(remote.run(() => 1)).toBe(1)
    off.endTrace()
    expect(off.getCurrentTrace()).toBeUndefined()
    expect(await off.close()).toEqual({ emitted: 0, sent: 0, buffered: 0, dropped: {} })
  })

  test('step() outside of any trace just runs', async () => {
    expect(
      step('alone', (s) => {
        s.set({ a: 1 })
        return s.step('inner', () => 3)
      }),
    ).toBe(3)
  })

  test('odd names, durations and metadata never throw', async () => {
    tracer.trace(undefined as never, { metadata: 17, executionId: 5 as never }, (t) => {
      t.recordStep('' as never, Number.NaN)
      t.recordStep('x'.repeat(1_000), -5, 'success', '\ud800\0')
      t.step(Symbol('odd') as never, () => {})
    })
    await tracer.flush()
    const [trace] = sink.traces()
    expect(trace).toMatchObject({ skillName: 'unnamed', executionId: '5', metadata: { value: 17 } })
    expect(trace?.steps.map((s) => [s.name.length, s.durationMs === 0])).toMatchObject([
      [7, true],
      [255, true],
      [11, false],
    ])
  })

  test('whatever is passed as metadata and attributes arrives as JSON that Postgres takes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: true,
          withTypedArray: true,
        }),
        async (value) => {
          sink.clear()
          tracer.trace('any', { metadata: value }, (t) =>
            t.recordStep('step', 1, 'success', undefined, { attributes: value }),
          )
          await tracer.flush()
          const [trace] = sink.traces()
          expect(trace).toMatchObject({ status: 'success', stepCount: 1 })
          expect(JSON.stringify(trace)).not.toMatch(/\\u0000|\\ud[89a-f]/)
        },
      ),
      { numRuns: 300 },
    )
  })
})
