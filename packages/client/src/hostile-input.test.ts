import { types } from 'node:util'
import { assemble, encodeFrame, rowOfState, type Said } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ExecutionTracer, StepwellError, step, TraceRecorder } from './index.ts'
import { type MemorySink, memorySink } from './testing.ts'

// Whatever a host passes, from JavaScript too: the documented errors at most, and nothing that a worker would refuse.

const throwing = (): never => {
  throw new Error('no')
}
const deep = (levels: number): unknown => {
  let value: unknown = 'bottom'
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? { value } : [value]
  return value
}
const circle: Record<string, unknown> = { name: 'circle' }
circle.self = circle

/** By name, so that a counterexample can be printed. */
const VALUES: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  name: () => 'name',
  other: () => 'other',
  empty: () => '',
  huge: () => 'x"\u0001\ud800'.repeat(40_000),
  nul: () => 'a\0b\ud800',
  quotes: () => '","\\',
  number: () => 7,
  negative: () => -1,
  fraction: () => 1.5,
  nan: () => Number.NaN,
  infinity: () => Number.POSITIVE_INFINITY,
  minusInfinity: () => Number.NEGATIVE_INFINITY,
  large: () => Number.MAX_VALUE,
  big: () => 10n ** 30n,
  boolean: () => true,
  symbol: () => Symbol('s\0'),
  function: () => () => 7,
  date: () => new Date(),
  past: () => new Date(-8.64e15),
  future: () => new Date(8.64e15),
  noDate: () => new Date(Number.NaN),
  fakeDate: () => Object.create(Date.prototype),
  bare: () => Object.create(null),
  circle: () => circle,
  deep: () => deep(5_000),
  wide: () => Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`key-${i}`, i])),
  array: () => [1, undefined, { a: 1 }],
  map: () => new Map<unknown, unknown>([[Symbol('k'), 1]]),
  getter: () => Object.defineProperty({ ok: 1 }, 'x', { get: throwing, enumerable: true }),
  toJson: () => ({ toJSON: throwing }),
  toText: () => ({ toString: throwing }),
  thenable: () => Object.defineProperty({}, 'then', { value: (resolve: (n: number) => void) => resolve(7) }),
  error: () => Object.freeze(new Error('frozen \0')),
  oddError: () => Object.assign(new Error('x'), { name: undefined, message: undefined }),
  proxy: () => new Proxy({}, { get: throwing, has: throwing, ownKeys: throwing, getPrototypeOf: throwing }),
  uuid: () => '6F1C2D3E-0000-4000-8000-0123456789AB',
  ours: () => '019ac678-d900-7000-8000-000000000001',
  farAhead: () => 'ffffffff-ffff-7fff-bfff-ffffffffffff',
  nil: () => '00000000-0000-0000-0000-000000000000',
}
const key = fc.constantFrom(...Object.keys(VALUES))
const maybe = fc.oneof({ weight: 2, arbitrary: fc.constant('undefined') }, key)

// biome-ignore lint/suspicious/noExplicitAny: whatever a caller from JavaScript passes
type Any = any
type Call = (host: Host, ...values: Any[]) => unknown

// Options are the caller's own code at the call: one that throws when it is read is not ours to catch.
const bag = (value: Any): Any => (types.isProxy(value) ? {} : value)

/** Everything that can be called, with up to four values of any kind. */
const CALLS: Record<string, Call> = {
  startTrace: ({ tracer }, a, b, c) => tracer.startTrace(a, bag(b), c),
  startWith: ({ tracer }, a, b, c, d) => tracer.startTrace(a, { executionId: b, metadata: c, timeoutMs: d }),
  startAt: ({ tracer }, a, b) => tracer.startTrace('at', { startedAt: a, traceId: b }),
  startIn: ({ tracer }, a, b, c) =>
    tracer.startTrace('in', { parent: { traceId: a, stepId: b, rootTraceId: c } }),
  startInAny: ({ tracer }, a) => tracer.startTrace('in', { parent: bag(a) }),
  trace: (host, a, b, c) => tracing(host, a, { metadata: b }, () => c),
  traceThrows: (host, a, b, c) =>
    tracing(host, a, { executionId: b }, () => {
      throw c
    }),
  traceAny: ({ tracer }, a, b, c) => tracer.trace(a, bag(b), c),
  endTrace: ({ tracer }, a, b) => tracer.endTrace(a, bag(b)),
  endNamed: ({ tracer }, a, b, c, d) =>
    tracer.endTrace('failed', { errorMessage: a, completedAt: b, durationMs: c, traceId: d }),
  step: ({ scope }, a, b, c) => scope.step(a, { attributes: b, parentId: c }, () => c),
  stepOfFlow: (_, a, b) => step(a, bag(b), () => {}),
  stepAny: ({ scope }, a, b, c) => scope.step(a, bag(b), c),
  startStep: (host, a, b, c, d) => {
    host.steps.push(host.scope.startStep(a, { attributes: b, startedAt: c, parentId: d }))
  },
  startStepAny: ({ scope }, a, b) => scope.startStep(a, bag(b)),
  set: ({ steps }, a) => steps.at(-1)?.set(a),
  setTrace: ({ scope }, a) => scope.set?.(a),
  end: ({ steps }, a, b) => steps.at(-1)?.end(a, b),
  fail: ({ steps }, a) => steps.at(-1)?.fail(a),
  failTrace: ({ scope }, a) => scope.fail?.(a),
  recordStep: ({ scope }, a, b, c, d) => scope.recordStep(a, b, 'failed', c, { startedAt: d }),
  recordStepAny: ({ scope }, a, b, c, d) => scope.recordStep(a, b, undefined, c, bag(d)),
  recorderStart: ({ recorder }, a, b) => recorder.startStep(a, bag(b)),
  recorderEnd: ({ recorder }, a, b, c) => recorder.endStep(a, undefined, b, { endedAt: c, attributes: b }),
  recorderEndAny: ({ recorder }, a, b, c) => recorder.endStep(a, 'success', b, bag(c)),
  recorderRecord: ({ recorder }, a, b, c) => recorder.recordStep(a, b, c),
  bind: ({ recorder }, a, b) => recorder.bind(a).recordStep(b, 1),
  attach: (host, a, b, c, d) => {
    host.scopes.push(host.tracer.attach({ traceId: a, stepId: b, startedAt: c, executionId: d }))
  },
  attachExecution: (host, a) => {
    host.scopes.push(host.tracer.attach({ executionId: a }))
  },
  attachAny: ({ tracer }, a) => tracer.attach(bag(a)),
  childOfAttached: (host, a) => host.scope.run?.(() => host.tracer.trace(a, () => {})),
  context: ({ scope }) => scope.context(),
  getTraceId: ({ tracer }, a) => tracer.getTraceId(a),
  getCurrentTrace: ({ tracer }) => JSON.stringify(tracer.getCurrentTrace()),
  flush: ({ tracer }, a) => tracer.flush({ timeoutMs: a }),
  flushAny: ({ tracer }, a) => tracer.flush(bag(a)),
}

/** Runs `fn` as a trace: what it throws MUST come through as it was. */
function tracing(host: Host, name: string, options: object, fn: () => unknown): void {
  let thrown: { error: unknown } | undefined
  try {
    host.tracer.trace(name, options, (trace) => {
      host.scopes.push(trace)
      try {
        return fn()
      } catch (error) {
        thrown = { error }
        throw error
      }
    })
  } catch (error) {
    if (thrown === undefined || !Object.is(thrown.error, error)) throw error
  }
}

class Host {
  readonly tracer: ExecutionTracer
  readonly recorder: TraceRecorder
  readonly scopes: Any[] = []
  readonly steps: Any[] = []

  constructor(sink: MemorySink, service: string | undefined) {
    this.tracer = new ExecutionTracer({ sink, service, resolveTimeoutMs: 0, report: () => {} })
    this.recorder = new TraceRecorder(this.tracer)
    this.tracer.trace('host', (trace) => this.scopes.push(trace))
  }

  get scope(): Any {
    return this.scopes.at(-1)
  }
}

test.each([undefined, 'service'])('whatever is passed, by service %s', async (service) => {
  const calls = fc.array(fc.tuple(fc.constantFrom(...Object.keys(CALLS)), key, maybe, maybe, maybe), {
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(calls, async (list) => {
      const sink = memorySink()
      const host = new Host(sink, service)
      for (const [call, ...values] of list) {
        try {
          const result = CALLS[call]?.(host, ...values.map((name) => VALUES[name]?.()))
          if (types.isPromise(result)) await result
        } catch (error) {
          if (!(error instanceof StepwellError)) throw error
        }
      }
      const { emitted, sent, buffered, dropped } = await host.tracer.close()
      expect(buffered).toBe(0)
      expect(emitted).toBe(sent + Object.values(dropped).reduce((sum, n) => sum + n, 0))
      expectWhole(sink)
    }),
    { numRuns: 1500, seed: 20_251_124 },
  )
})

/** A worker takes every delta, and no trace lacks a step. */
function expectWhole(sink: MemorySink): void {
  const byTrace = new Map<string, Said[]>()
  for (const frame of sink.frames) {
    const decoded = decodeFrame(encodeFrame(frame), Date.now())
    if (!decoded.ok) throw new Error(`${decoded.reason}: ${frame.deltas.slice(0, 2000)}`)
    expect(decoded.refused).toEqual([])
    for (const delta of decoded.deltas) {
      const said = { producer: delta.k === undefined ? frame.producer : '', delta }
      byTrace.set(delta.t, [...(byTrace.get(delta.t) ?? []), said])
    }
  }
  for (const said of byTrace.values()) expect(rowOfState(assemble(said)).missing_steps).toBe(0)
}
