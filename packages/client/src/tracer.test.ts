import { EventEmitter } from 'node:events'
import { setTimeout as after } from 'node:timers/promises'
import { newTraceId, traceIdStart } from '@stepwell/protocol'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  ExecutionTracer,
  InvalidInputError,
  InvalidStatusError,
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

  test('what can be awaited and is no promise gives its value, or its error', async () => {
    const query = (then: (resolve: (value: string) => void) => void) =>
      Object.defineProperty({}, 'then', { value: then }) as PromiseLike<string>
    expect(await tracer.trace('gives', () => query((resolve) => resolve('rows')))).toBe('rows')
    const refuses = query(() => {
      throw new TypeError('no connection')
    })
    await expect(tracer.trace('throws', () => step('query', () => refuses))).rejects.toThrow('no connection')
    await tracer.flush()
    expect(sink.traces().map(({ status }) => status)).toEqual(['success', 'failed'])
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

  test('what cannot even be looked at comes through unchanged, and fails what threw it', async () => {
    const refuse = (): never => {
      throw new Error('not to be read')
    }
    const closed = new Proxy({}, { get: refuse, has: refuse, getPrototypeOf: refuse })
    expect(tracer.trace('returned', () => closed)).toBe(closed)
    for (const thrown of [closed, undefined, Object.assign(new Error(), { name: undefined })]) {
      let caught: unknown = 'nothing'
      try {
        tracer.trace('thrown', () => {
          throw thrown
        })
      } catch (error) {
        caught = error
      }
      expect(caught === thrown).toBe(true)
    }
    await tracer.flush()
    expect(sink.traces().map((trace) => trace.status)).toEqual(['success', 'failed', 'failed', 'failed'])
  })

  test('names and ids of any type are text, or refused in words', async () => {
    const bare = Object.create(null)
    tracer.startTrace(bare, { executionId: bare })
    const recorder = new TraceRecorder(tracer)
    recorder.startStep(bare, { startedAt: Object.create(Date.prototype) })
    recorder.endStep(bare)
    expect(tracer.getCurrentTrace()).toMatchObject({
      skillName: '[unreadable]',
      executionId: '[unreadable]',
      steps: [{ name: '[unreadable]' }],
    })
    expect(() => recorder.endStep(bare)).toThrow("Step '[unreadable]' was not started")
    expect(() => tracer.endTrace(bare)).toThrow(InvalidStatusError)
    expect(() => tracer.attach({ traceId: Symbol('x') as never })).toThrow(/Symbol\(x\)/)
    expect(() => tracer.attach({ executionId: undefined as never })).toThrow(/executionId/)
    expect(() => tracer.trace('x', undefined as never)).toThrow(/needs a function/)
    expect(() => step('x', {}, undefined as never)).toThrow(/needs a function/)
    await expect(tracer.getTraceId(Symbol('x') as never)).resolves.toBeUndefined()
    tracer.endTrace()
  })

  test('an execution id that was cut is found by its whole length', async () => {
    const id = tracer.startTrace('long', 'x'.repeat(300))
    expect(await tracer.getTraceId('x'.repeat(300))).toBe(id)
    const other = new ExecutionTracer({ sink })
    await tracer.flush()
    other.attach({ executionId: 'x'.repeat(300) }).recordStep('remote', 1)
    expect(await other.close()).toMatchObject({ sent: 1 })
    tracer.endTrace()
  })

  test('metadata of any kind is the same beside a service', async () => {
    const serving = new ExecutionTracer({ sink, service: 'builder' })
    const unreadable = {
      get no() {
        throw new Error('no')
      },
    }
    const kinds = [
      undefined,
      7,
      { a: 1 },
      [1, 2],
      new Map([['a', 1]]),
      new Date(0),
      unreadable,
      'x'.repeat(1e5),
    ]
    for (const metadata of [...kinds, { service: 'own' }]) {
      tracer.trace('plain', { metadata }, () => {})
      serving.trace('serving', { metadata }, () => {})
    }
    await Promise.all([tracer.flush(), serving.close()])
    const plain = sink.find('plain').map(({ metadata }) => ({ service: 'builder', ...metadata }))
    expect(sink.find('serving').map(({ metadata }) => metadata)).toEqual(plain)
    expect(plain.slice(-2)).toEqual([
      { service: 'builder', 'stepwell.truncated': 100_012 },
      { service: 'own' },
    ])
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

  test('after a trace that was started inside another has ended, steps belong to the outer one again', async () => {
    await tracer.trace('outer', async () => {
      tracer.startTrace('inner')
      step('in inner', () => {})
      tracer.endTrace()
      step('in outer', () => {})
      tracer.trace('child', () => {})
    })
    await tracer.flush()
    expect(sink.find('inner')[0]?.steps.map((s) => s.name)).toEqual(['in inner'])
    const [outer] = sink.find('outer')
    expect(outer?.steps.map((s) => s.name)).toEqual(['in outer'])
    expect(sink.find('child')[0]?.parentTraceId).toBe(outer?.traceId)
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
    expect(() => tracer.startTrace('x', { traceId: 'ffffffff-ffff-7fff-bfff-ffffffffffff' })).toThrow(
      /a day from now/,
    )
    expect(() => tracer.startTrace('x', { parent: { traceId: 'x' } })).toThrow(/parent: 'x'/)
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

describe('options', () => {
  test.each([
    [{}, /Nowhere to send/],
    [{ redis: undefined }, /Is REDIS_URL set\?/],
    [{ redis: 'localhost' }, /'redis' must be a URL/],
    [{ redis: 17 }, /'redis'/],
    [{ redis: new URL('redis://localhost') }, /the text of a URL/],
    [{ redis: new EventEmitter() }, /connection of ioredis/],
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

test('refuses a Redis with a key prefix, given or lent: no worker would find the streams', () => {
  const prefixed = { port: 1, keyPrefix: 'app:' }
  expect(() => new ExecutionTracer({ redis: prefixed })).toThrow(/'namespace'/)
  const lent = new Redis({ ...prefixed, lazyConnect: true })
  expect(() => new ExecutionTracer({ redis: lent })).toThrow(/'namespace'/)
})

test('secrets go out of metadata, attributes and error messages, wherever they enter; redact: false leaves them', async () => {
  const url = 'postgres://app:hunter2@db/x'
  const record = async (options: { redact?: false }): Promise<string> => {
    const own = memorySink()
    const one = new ExecutionTracer({ sink: own, service: 's', ...options })
    await one
      .trace('leaky', { metadata: { url, apiKey: 'hunter2' } }, async (t) => {
        t.set({ later: { password: 'hunter2' } })
        await t
          .step('connect', { attributes: { url, token: 'hunter2' } }, async (s) => {
            s.set({ cookie: 'hunter2' })
            throw new Error(`cannot reach ${url}`)
          })
          .catch(() => {})
        t.recordStep('recorded', 1, 'failed', 'password=hunter2')
        throw new Error(`gave up on ${url}`)
      })
      .catch(() => {})
    await one.close()
    return JSON.stringify(own.traces())
  }
  const clean = await record({})
  expect(clean).not.toContain('hunter2')
  expect(clean).toContain('cannot reach postgres://[redacted]@db/x')
  expect((await record({ redact: false })).split('hunter2')).toHaveLength(10)
  expect(() => new ExecutionTracer({ sink, redact: { keys: 'x' } as never })).toThrow(/redact.*list of names/)
})

test('an id of a trace that is still open is refused; of one that has ended it is continued', () => {
  const traceId = newTraceId(Date.now())
  tracer.startTrace('first', { traceId })
  expect(() => tracer.startTrace('second', { traceId: traceId.toUpperCase() })).toThrow(/still open/)
  tracer.endTrace('success', { traceId })
  expect(tracer.startTrace('first', { traceId })).toBe(traceId)
  tracer.endTrace('success', { traceId })
})
