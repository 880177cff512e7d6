import { newTraceId } from '@stepwell/protocol'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ExecutionTracer, InvalidInputError, step } from './index.ts'
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

  test('what the host does to the step that it was given changes nothing, though the trace is still being looked for', async () => {
    const other = new ExecutionTracer({ sink })
    const given = other.attach({ executionId: 'later' }).recordStep('as recorded', 5)
    Object.assign(given, { id: 'other', name: 'changed', durationMs: 7, status: 'failed' })
    given.timestamp?.setTime(0)
    tracer.startTrace('run', 'later')
    await tracer.flush()
    await other.close()
    tracer.endTrace()
    await tracer.flush()
    const [run] = sink.traces()
    expect(run?.steps).toMatchObject([{ name: 'as recorded', durationMs: 5, status: 'success' }])
    expect(run?.steps[0]?.id).not.toBe('other')
  })

  test('flush and close wait for a trace that is being looked for', async () => {
    const other = new ExecutionTracer({ sink, resolveTimeoutMs: 1_000 })
    other.attach({ executionId: 'soon' }).recordStep('early', 1)
    const flushed = other.flush()
    setTimeout(() => tracer.startTrace('soon', 'soon'), 100)
    expect(await flushed).toBe(true)
    other.attach({ executionId: 'never' }).recordStep('lost', 1)
    expect(await other.close()).toEqual({ emitted: 2, sent: 1, buffered: 0, dropped: { unresolved: 1 } })
  })

  test('what waits when the tracer is closed is lost once, however the looking ends', async () => {
    const other = new ExecutionTracer({ sink, resolveTimeoutMs: 100 })
    other.attach({ executionId: 'nobody' }).recordStep('lost', 1)
    other.attach({ executionId: 'late' }).recordStep('lost', 1)
    const closed = { emitted: 2, sent: 0, buffered: 0, dropped: { unsent: 2 } }
    expect(await other.close({ timeoutMs: 10 })).toEqual(closed)
    tracer.startTrace('late', 'late')
    await tracer.flush()
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(other.counters()).toEqual(closed)
    expect(sink.traces()).toHaveLength(1)
  })

  test('the context of a disabled tracer is that of no trace', async () => {
    const context = new ExecutionTracer({ disabled: true }).trace('off', (t) => t.context())
    await using remote = tracer.attach(context)
    expect(remote.step('runs', () => 7)).toBe(7)
    tracer.trace('child', { parent: context }, () => {})
    await tracer.flush()
    expect(sink.traces()).toMatchObject([{ skillName: 'child', stepCount: 0 }])
    expect(sink.traces()[0]).not.toHaveProperty('parentTraceId')
  })

  test('attached to twice by execution id, a step of either that is lost would be missing', async () => {
    tracer.startTrace('shared', 'exec-twice')
    await tracer.flush()
    const other = new ExecutionTracer({ sink })
    const [one, two] = [1, 2].map(() => other.attach({ executionId: 'exec-twice' }))
    one?.recordStep('a', 1)
    two?.recordStep('b', 1)
    await other.flush()
    one?.recordStep('c', 1)
    await other.flush()
    expect(JSON.parse(sink.frames.at(-1)?.deltas as string)).toMatchObject([{ n: [3, 3] }])
    await other.close()
    tracer.endTrace()
    await tracer.flush()
    expect(sink.traces()).toMatchObject([{ stepCount: 3, missingSteps: 0 }])
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

  test('a trace started in one that is still being looked for is its own', async () => {
    const other = new ExecutionTracer({ sink, resolveTimeoutMs: 0 })
    other.attach({ executionId: 'unknown' }).run(() => other.trace('child', () => {}))
    await other.close()
    expect(sink.find('child')[0]).not.toHaveProperty('parentTraceId')
  })

  test('a step id that is none is left out, a start that no worker takes is refused', async () => {
    const traceId = tracer.startTrace('shared')
    tracer.attach({ traceId, stepId: 'a.b' }).recordStep('no id', 1, 'success', undefined, { parentId: -1 })
    tracer.attach({ traceId, stepId: 'say "so"' }).recordStep('foreign', 1)
    await tracer.flush()
    const [noId, foreignId] = sink.traces()[0]?.steps ?? []
    expect(noId).not.toHaveProperty('parentId')
    expect(foreignId?.parentId).toBe('say "so"')
    const foreign = { traceId: '6f1c2d3e-0000-4000-8000-0123456789ab' }
    for (const startedAt of [Number.NaN, 0, Date.now() + 2 * 86_400_000, 'yesterday' as never]) {
      expect(() => tracer.attach({ ...foreign, startedAt })).toThrow(/startedAt/)
    }
    expect(() => tracer.attach({ traceId: 'ffffffff-ffff-7fff-bfff-ffffffffffff' })).toThrow(
      InvalidInputError,
    )
  })

  test('what cannot be attached to is refused', () => {
    expect(() => tracer.attach({ traceId: 'x' })).toThrow(InvalidInputError)
    expect(() => tracer.attach({ traceId: '6f1c2d3e-0000-4000-8000-0123456789ab' })).toThrow(/startedAt/)
    expect(() => tracer.attach(undefined as never)).toThrow(InvalidInputError)
  })

  test('a resolveTraceId that never settles keeps nothing for ever', async () => {
    const other = new ExecutionTracer({
      sink,
      resolveTimeoutMs: 0,
      resolveTraceId: () => new Promise(() => {}),
    })
    other.attach({ executionId: 'nobody' }).recordStep('lost', 1)
    await expect.poll(() => other.counters().dropped).toEqual({ unresolved: 1 })
    await other.close()
  })

  test('attachments that nobody lets go do not pile up, and go on to work', async () => {
    const other = new ExecutionTracer({ sink })
    const contexts = Array.from({ length: 12_000 }, () => ({ traceId: newTraceId(Date.now()) }))
    const handles = contexts.map((context) => other.attach(context))
    handles[0]?.recordStep('late', 1)
    expect(await other.flush()).toBe(true)
    expect(sink.traces()).toMatchObject([{ traceId: contexts[0]?.traceId, stepCount: 1 }])
    await other.close()
  })
})
