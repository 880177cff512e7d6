import { setTimeout as after } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  ExecutionTracer,
  InvalidStatusError,
  StepNotStartedError,
  TraceContextError,
  TraceRecorder,
} from './index.ts'
import { type MemorySink, memorySink } from './testing.ts'

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

describe('recorder', () => {
  test('startStep and endStep: the specified step comes back', async () => {
    tracer.startTrace('skill')
    const recorder = new TraceRecorder(tracer)
    const before = Date.now()
    recorder.startStep('load')
    await after(15)
    const ended = recorder.endStep('load')
    expect(ended).toMatchObject({ name: 'load', status: 'success' })
    expect(ended).not.toHaveProperty('errorMessage')
    expect(ended.durationMs).toBeGreaterThanOrEqual(13)
    expect(ended.timestamp?.getTime()).toBeGreaterThanOrEqual(before - 1)
    recorder.startStep('risky')
    expect(recorder.endStep('risky', 'failed', 'boom')).toMatchObject({
      name: 'risky',
      status: 'failed',
      errorMessage: 'boom',
    })
    tracer.endTrace()
  })

  test('recordStep: the given duration, ended now', () => {
    tracer.startTrace('skill')
    const recorder = new TraceRecorder(tracer)
    const beforeMs = Date.now()
    const recorded = recorder.recordStep('query', 100)
    const afterMs = Date.now()
    expect(recorded).toMatchObject({ name: 'query', durationMs: 100, status: 'success' })
    // Times of steps are counted from the start of their trace by another clock, in parts of milliseconds.
    const endedMs = (recorded.timestamp?.getTime() ?? 0) + 100
    expect(endedMs).toBeGreaterThanOrEqual(beforeMs - 2)
    expect(endedMs).toBeLessThanOrEqual(afterMs + 2)
    expect(recorder.recordStep('query', 200, 'failed', 'timeout')).toMatchObject({
      status: 'failed',
      errorMessage: 'timeout',
    })
    tracer.endTrace()
  })

  test('wrong use throws as specified, and nothing is recorded', async () => {
    tracer.startTrace('skill')
    const recorder = new TraceRecorder(tracer)
    expect(() => recorder.endStep('x')).toThrow(StepNotStartedError)
    expect(() => recorder.endStep('x')).toThrow("Step 'x' was not started")
    try {
      recorder.endStep('x')
    } catch (error) {
      expect(error).toMatchObject({ code: 'STEP_NOT_STARTED', message: "Step 'x' was not started" })
    }
    recorder.startStep('x')
    expect(() => recorder.endStep('x', 'done' as never)).toThrow(InvalidStatusError)
    expect(() => recorder.recordStep('x', 1, 'running' as never)).toThrow(InvalidStatusError)
    expect(tracer.getCurrentTrace()?.steps).toMatchObject([{ name: 'x', status: 'running' }])
    recorder.endStep('x')
    expect(() => recorder.endStep('x')).toThrow(StepNotStartedError)
    tracer.endTrace()
    await tracer.flush()
    expect(sink.traces()).toMatchObject([{ stepCount: 1 }])
  })

  test('where there was no room for the trace, or the tracer is closed, nothing throws', async () => {
    const start = (name: string) =>
      new Promise<string>((resolve) => setImmediate(() => resolve(small.startTrace(name))))
    const small = new ExecutionTracer({ sink, openTracesMax: 1, report: () => {} })
    const recorder = new TraceRecorder(small)
    const record = (given: TraceRecorder): void => {
      given.startStep('a')
      expect(given.endStep('a')).toMatchObject({ name: 'a', status: 'success' })
      expect(given.recordStep('b', 5, 'failed')).toMatchObject({ name: 'b', durationMs: 5, status: 'failed' })
    }
    await start('kept')
    record(recorder.bind(await start('too many')))
    small.endTrace()
    expect(small.counters()).toMatchObject({ emitted: 5, dropped: { too_many_traces: 3 } })
    await start('left open')
    await small.close()
    record(recorder)
    small.endTrace()
    expect(small.counters()).toMatchObject({ emitted: 9, buffered: 0, dropped: { closed: 3 } })
  })

  test('a trace that the full buffer turned away is found, and takes its steps with it', async () => {
    const full = new ExecutionTracer({
      sink: { ...memorySink(), isReady: () => false },
      bufferMaxBytes: 65_536,
      report: () => {},
    })
    const big = { metadata: 'x'.repeat(60_000) }
    const other = full.startTrace('fits', big)
    const id = await new Promise<string>((resolve) =>
      setImmediate(() => resolve(full.startTrace('does not', big))),
    )
    new TraceRecorder(full).bind(id).recordStep('lost', 1)
    full.endTrace('success', { traceId: id })
    expect(full.counters()).toMatchObject({ emitted: 4, buffered: 1, dropped: { buffer_full: 3 } })
    full.endTrace('success', { traceId: other })
    await full.close({ timeoutMs: 0 })
  })

  test('a step that its name and its handle end is one step', async () => {
    const recorder = new TraceRecorder(tracer)
    tracer.trace('skill', (t) =>
      t.step('twice', (s) => {
        const ended = recorder.endStep('twice', 'failed', 'first')
        s.set({ late: true })
        expect(s.end()).toBe(ended)
      }),
    )
    await tracer.flush()
    expect(tracer.counters()).toMatchObject({ emitted: 3 })
    expect(sink.traces()).toMatchObject([
      { missingSteps: 0, steps: [{ name: 'twice', status: 'failed', errorMessage: 'first' }] },
    ])
  })

  test('steps open under one name end last-in first-out', () => {
    tracer.startTrace('skill')
    const recorder = new TraceRecorder(tracer)
    const [first, second] = [recorder.startStep('again'), recorder.startStep('again')]
    expect(recorder.endStep('again').id).toBe(second)
    expect(recorder.endStep('again').id).toBe(first)
    tracer.endTrace()
  })

  test('without a trace in the flow the only open one is meant; with several it is an error, and bind is the way out', async () => {
    const recorder = new TraceRecorder(tracer)
    expect(() => recorder.startStep('x')).toThrow(TraceContextError)
    // Started in flows of their own: the test's flow sees none of them.
    const start = (name: string) =>
      new Promise<string>((resolve) => setImmediate(() => resolve(tracer.startTrace(name))))
    const one = await start('one')
    recorder.recordStep('in one', 1)
    const two = await start('two')
    expect(() => recorder.recordStep('in which?', 1)).toThrow(/2 traces are open/)
    expect(() => tracer.getTraceId()).toThrow(TraceContextError)
    recorder.bind(one).recordStep('in one', 2)
    recorder.bind(two).recordStep('in two', 3)
    tracer.endTrace('success', { traceId: one })
    recorder.recordStep('in two', 4)
    tracer.endTrace('success', { traceId: two })
    expect(() => recorder.bind(one).recordStep('late', 1)).toThrow(TraceContextError)
    await tracer.flush()
    expect(sink.find('one')[0]?.steps.map((s) => s.name)).toEqual(['in one', 'in one'])
    expect(sink.find('two')[0]?.steps.map((s) => s.name)).toEqual(['in two', 'in two'])
  })
})
