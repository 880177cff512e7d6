import { setTimeout as after } from 'node:timers/promises'
import { newTraceId, traceIdStart } from '@stepwell/protocol'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  ExecutionTracer,
  InvalidInputError,
  InvalidStatusError,
  StepNotStartedError,
  step,
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

describe('traces', () => {
  test('startTrace gives a UUIDv7 of now at once, with the specified defaults', async () => {
    const before = Date.now()
    const id = tracer.startTrace('skill')
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(traceIdStart(id)).toBeGreaterThanOrEqual(before)
    expect(tracer.getTraceId()).toBe(id)
    expect(tracer.getCurrentTrace()).toMatchObject({
      traceId: id,
      skillName: 'skill',
      status: 'running',
      steps: [],
      metadata: {},
    })
    expect(tracer.getCurrentTrace()).not.toHaveProperty('executionId')
    tracer.endTrace()
    expect(tracer.getTraceId()).toBeUndefined()
    expect(tracer.getCurrentTrace()).toBeUndefined()
  })

  test('startTrace takes execution id and metadata in place, or as options', async () => {
    const a = tracer.startTrace('skill', 'exec-1', { env: 'prod' })
    expect(tracer.getCurrentTrace()).toMatchObject({ executionId: 'exec-1', metadata: { env: 'prod' } })
    expect(await tracer.getTraceId('exec-1')).toBe(a)
    expect(await tracer.getTraceId('nobody')).toBeUndefined()
    const b = tracer.startTrace('skill', {
      executionId: 'exec-2',
      metadata: { env: 'dev' },
      startedAt: new Date('2024-02-03T04:05:06.789Z'),
    })
    expect(traceIdStart(b)).toBe(Date.UTC(2024, 1, 3, 4, 5, 6, 789))
    expect(tracer.getCurrentTrace()).toMatchObject({ traceId: b, executionId: 'exec-2' })
    tracer.endTrace('failed', { errorMessage: 'no', completedAt: Date.UTC(2024, 1, 3, 4, 6), durationMs: 12 })
    expect(tracer.getTraceId()).toBe(a)
    tracer.endTrace('timeout')
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      {
        traceId: b,
        status: 'failed',
        errorMessage: 'no',
        totalDurationMs: 12,
        completedAt: new Date('2024-02-03T04:06:00Z'),
      },
      { traceId: a, status: 'timeout' },
    ])
  })

  test('trace() returns what its callback returns, promise or not', async () => {
    expect(tracer.trace('sync', () => 42)).toBe(42)
    expect(await tracer.trace('async', async () => 'value')).toBe('value')
    await tracer.flush()
    expect(sink.traces().map(({ skillName, status }) => [skillName, status])).toEqual([
      ['sync', 'success'],
      ['async', 'success'],
    ])
  })

  test('what a callback throws ends step and trace as failed and comes through unchanged', async () => {
    const thrown = { odd: Symbol('not even an error') }
    const rejected = new TypeError('connection timeout redis')
    await expect(
      tracer.trace('rejects', (t) => t.step('risky', async () => Promise.reject(rejected))),
    ).rejects.toBe(rejected)
    let caught: unknown
    try {
      tracer.trace('throws', (t) =>
        t.step('risky', () => {
          throw thrown
        }),
      )
    } catch (error) {
      caught = error
    }
    expect(caught).toBe(thrown)
    await tracer.flush()
    expect(sink.find('rejects')).toMatchObject([
      {
        status: 'failed',
        errorMessage: 'connection timeout redis',
        steps: [{ name: 'risky', status: 'failed', errorMessage: 'connection timeout redis' }],
      },
    ])
    expect(sink.find('throws')).toMatchObject([{ status: 'failed', steps: [{ status: 'failed' }] }])
  })

  test('nested steps, attributes, metadata set on the way, a failure without an exception', async () => {
    await tracer.trace('nested', { metadata: { a: 1 } }, async (t) => {
      await step('outer', { attributes: { model: 'x' } }, async (s) => {
        await step('inner', async () => after(1))
        s.set({ 'usage.input_tokens': 812 })
      })
      t.recordStep('noted', 25, 'success', undefined, { attributes: { n: 1 } })
      t.set({ b: 2 })
      t.fail('gave up')
    })
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      {
        status: 'failed',
        errorMessage: 'gave up',
        metadata: { a: 1, b: 2 },
        missingSteps: 0,
        steps: [
          { id: 1, name: 'outer', attributes: { model: 'x', 'usage.input_tokens': 812 } },
          { id: 2, name: 'inner', parentId: 1 },
          { id: 3, name: 'noted', durationMs: 25, attributes: { n: 1 } },
        ],
      },
    ])
    expect(sink.frames).toHaveLength(1)
  })

  test('a trace started in another is its child, unless told otherwise', async () => {
    await tracer.trace('root', async (root) => {
      await root.step('delegate', async (s) => {
        await tracer.trace('child', () => tracer.trace('grandchild', () => {}))
        expect(root.context().traceId).toBe(s.traceId)
      })
      tracer.trace('stranger', { parent: null }, () => {})
    })
    await tracer.flush()
    const [root] = sink.find('root')
    const [child] = sink.find('child')
    expect(child).toMatchObject({ parentTraceId: root?.traceId, parentStepId: 1, rootTraceId: root?.traceId })
    expect(sink.find('grandchild')[0]).toMatchObject({
      parentTraceId: child?.traceId,
      rootTraceId: root?.traceId,
    })
    expect(sink.find('stranger')[0]).not.toHaveProperty('parentTraceId')
  })

  test('64 concurrent traces, nested and interleaved: no step is in the wrong trace', async () => {
    await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        tracer.trace(`skill-${i}`, async () => {
          const recorder = new TraceRecorder(tracer)
          for (let k = 0; k < 5; k++) {
            await step(`${i}/outer-${k}`, async () => {
              await after(Math.random() * 3)
              await Promise.all([
                step(`${i}/a-${k}`, () => after(Math.random() * 3)),
                step(`${i}/b-${k}`, () => after(1)),
              ])
            })
            recorder.recordStep(`${i}/recorded-${k}`, 1)
            expect(tracer.getCurrentTrace()?.skillName).toBe(`skill-${i}`)
          }
        }),
      ),
    )
    await tracer.flush()
    const traces = sink.traces()
    expect(traces).toHaveLength(64)
    for (const { skillName, steps, missingSteps } of traces) {
      const i = skillName.slice(6)
      expect(steps).toHaveLength(20)
      expect(missingSteps).toBe(0)
      for (const { name, parentId } of steps) {
        expect(name).toMatch(new RegExp(`^${i}/`))
        const parent = steps.find(({ id }) => id === parentId)
        if (/\/[ab]-/.test(name)) expect(parent?.name).toBe(`${i}/outer-${name.at(-1)}`)
        else expect(parent).toBeUndefined()
      }
    }
  })

  test('wrong starts and ids are refused before anything is recorded', () => {
    expect(() => tracer.startTrace('x', { startedAt: new Date(Number.NaN) })).toThrow(InvalidInputError)
    expect(() => tracer.startTrace('x', { startedAt: 0 })).toThrow(/2000-01-01/)
    expect(() => tracer.startTrace('x', { startedAt: Date.now() + 2 * 86_400_000 })).toThrow(
      InvalidInputError,
    )
    expect(() => tracer.startTrace('x', { traceId: 'x' })).toThrow(/no UUID/)
    expect(() =>
      tracer.startTrace('x', { traceId: newTraceId(Date.UTC(2020, 0)), startedAt: Date.UTC(2021, 0) }),
    ).toThrow(/another time/)
    expect(() => tracer.endTrace('running' as never)).toThrow(InvalidStatusError)
    expect(() => tracer.endTrace()).toThrow(TraceContextError)
    expect(tracer.counters().emitted).toBe(0)
  })

  test('getCurrentTrace shows the latest 1,000 steps and how many there were', () => {
    tracer.startTrace('long')
    const recorder = new TraceRecorder(tracer)
    for (let i = 0; i < 2_500; i++) recorder.recordStep(`step-${i}`, 1)
    const trace = tracer.getCurrentTrace()
    expect(trace).toMatchObject({ stepCount: 2_500, stepsTruncated: true })
    expect(trace?.steps).toHaveLength(1_000)
    expect(trace?.steps.at(-1)?.name).toBe('step-2499')
    tracer.endTrace()
  })
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
    const now = Date.now()
    const recorded = recorder.recordStep('query', 100)
    expect(recorded).toMatchObject({ name: 'query', durationMs: 100, status: 'success' })
    expect(Math.abs((recorded.timestamp?.getTime() ?? 0) + 100 - now)).toBeLessThan(50)
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

describe('attach', () => {
  test('by context, exactly: steps of two processes are one trace', async () => {
    const other = new ExecutionTracer({ sink })
    await tracer.trace('shared', { executionId: 'exec-1' }, async (t) => {
      await t.step('push', async (s) => {
        await using remote = other.attach(JSON.parse(JSON.stringify(s.context())))
        await remote.step('pull', async () => {})
        remote.run(() => step('nested', () => {}))
      })
    })
    await Promise.all([tracer.flush(), other.close()])
    const [trace] = sink.traces()
    expect(trace).toMatchObject({ status: 'success', stepCount: 3, missingSteps: 0 })
    expect(trace?.steps.slice(1)).toMatchObject([
      { name: 'pull', parentId: 1 },
      { name: 'nested', parentId: 1 },
    ])
    expect(new Set(trace?.steps.map((s) => s.id)).size).toBe(3)
  })

  test('by execution id, while it is being looked for; and given up if nobody knows it', async () => {
    const other = new ExecutionTracer({ sink, resolveTimeoutMs: 300 })
    const early = other.attach({ executionId: 'exec-late' })
    early.recordStep('before it is known', 5)
    const lost = other.attach({ executionId: 'nobody' })
    lost.recordStep('lost', 1)
    const id = tracer.startTrace('found', 'exec-late')
    await tracer.flush()
    await expect
      .poll(() => other.counters())
      .toMatchObject({ sent: 1, dropped: { unresolved: 1 }, buffered: 0 })
    lost.recordStep('lost too', 1)
    tracer.endTrace()
    await tracer.flush()
    expect(sink.traces()).toMatchObject([
      {
        traceId: id,
        status: 'success',
        stepCount: 1,
        missingSteps: 0,
        steps: [{ name: 'before it is known', durationMs: 5 }],
      },
    ])
    expect(await other.close()).toMatchObject({ emitted: 3, dropped: { unresolved: 2 } })
  })

  test('attached to again, ids go on', async () => {
    const other = new ExecutionTracer({ sink })
    tracer.startTrace('again')
    const context = { traceId: tracer.getTraceId() as string }
    for (let i = 0; i < 3; i++) {
      await using remote = other.attach(context)
      remote.recordStep(`part-${i}`, 1)
    }
    tracer.endTrace()
    await Promise.all([tracer.flush(), other.close()])
    expect(sink.traces()).toMatchObject([{ stepCount: 3, missingSteps: 0 }])
  })

  test('what cannot be attached to is refused', () => {
    expect(() => tracer.attach({ traceId: 'x' })).toThrow(InvalidInputError)
    expect(() => tracer.attach({ traceId: '6f1c2d3e-0000-4000-8000-0123456789ab' })).toThrow(/startedAt/)
    expect(() => tracer.attach(undefined as never)).toThrow(InvalidInputError)
  })
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

  test('after close nothing is recorded, and nothing throws', async () => {
    tracer.startTrace('left open')
    await tracer.close()
    expect(tracer.trace('late', (t) => t.step('x', () => 7))).toBe(7)
    expect(tracer.counters().dropped).toEqual({ closed: 3 })
    expect(await tracer.close()).toMatchObject({ sent: 1 })
  })

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
    recorder.endStep('a')
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

describe('options', () => {
  test.each([
    [{}, /Nowhere to send/],
    [{ redis: undefined }, /Is REDIS_URL set\?/],
    [{ redis: 'localhost' }, /'redis' must be a URL/],
    [{ redis: 17 }, /'redis'/],
    [{ disabled: true, flushInterval: 5 }, /Unknown option 'flushInterval'/],
    [{ disabled: true, flushIntervalMs: 0 }, /'flushIntervalMs' must be a whole number from 5/],
    [{ disabled: true, shards: 1.5 }, /'shards'/],
    [{ disabled: true, namespace: 'a b' }, /'namespace'/],
    [{ disabled: 'yes' }, /'disabled'/],
    [undefined, /needs options/],
  ])('%o is refused at construction', (options, message) => {
    expect(() => new ExecutionTracer(options as never)).toThrow(InvalidInputError)
    expect(() => new ExecutionTracer(options as never)).toThrow(message)
  })
})
