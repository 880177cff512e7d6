import { type AddressInfo, createServer, type Socket } from 'node:net'
import { shardKeys } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { faultProxy, spawnProcess, startRedis, waitFor } from '@stepwell/testkit'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ExecutionTracer, TraceContext } from '../src/index.ts'

const STREAM = shardKeys('stepwell', 0).events
let url: string
let redis: Redis

beforeAll(async () => {
  url = await redisForFile()
  redis = new Redis(url)
})
beforeEach(async () => {
  await redis.flushdb()
})
afterAll(() => redis.disconnect())

const quiet = { report: () => {} }

async function deltasIn(connection: Redis): Promise<Record<string, unknown>[]> {
  const entries = (await connection.xrange(STREAM, '-', '+')) as [string, string[]][]
  return entries.flatMap(([, fields]) => {
    const decoded = decodeFrame(fields, Date.now())
    if (!decoded.ok) throw new Error(decoded.reason)
    expect(decoded.refused).toEqual([])
    return decoded.deltas as never
  })
}

describe('a connection of its own', () => {
  test('frames arrive as the protocol says; the execution id of an open trace is set for an hour', async () => {
    await using tracer = new ExecutionTracer({ redis: url })
    const id = tracer.startTrace('skill', 'exec-1', { env: 'prod' })
    expect(await tracer.flush()).toBe(true)
    expect(await redis.get('trace_context:exec-1')).toBe(id)
    expect(await redis.ttl('trace_context:exec-1')).toBeGreaterThan(3_500)
    tracer.endTrace()
    expect(await tracer.flush()).toBe(true)
    expect(await deltasIn(redis)).toMatchObject([
      { t: id, b: 1, k: 'skill', x: 'exec-1', m: { env: 'prod' }, r: 1, n: [0, 0] },
      { t: id, k: 'skill', n: [0, 0], e: ['s', expect.any(Number), expect.any(Number)] },
    ])
    expect(tracer.counters()).toEqual({ emitted: 2, sent: 2, buffered: 0, dropped: {} })
    // From any process.
    await using other = new ExecutionTracer({
      redis: url,
      resolveTraceId: async (x) => (x === 'old' ? id : undefined),
    })
    await waitFor(() => other.getTraceId('exec-1'), { what: 'another process finds it' })
    expect(await other.getTraceId('exec-1')).toBe(id)
    expect(await other.getTraceId('old')).toBe(id)
    expect(await other.getTraceId('nobody')).toBeUndefined()
  })

  test('a process that is open beats', async () => {
    await using tracer = new ExecutionTracer({ redis: url, heartbeatIntervalMs: 100 })
    tracer.startTrace('quiet')
    await waitFor(async () => (await redis.xlen(STREAM)) >= 4, { what: 'frames without events' })
    expect(await deltasIn(redis)).toHaveLength(1)
  })

  test.runIf('zstd' in process.versions)('packed frames are the same deltas', async () => {
    await using tracer = new ExecutionTracer({ redis: url, compression: 'zstd' })
    tracer.trace('packed', (t) => t.recordStep('x', 1))
    await tracer.flush()
    expect(await deltasIn(redis)).toMatchObject([{ k: 'packed', n: [1, 1] }])
  })

  test('redis-absent: nothing throws, and close keeps to its time', async () => {
    const reports: string[] = []
    const tracer = new ExecutionTracer({
      redis: 'redis://127.0.0.1:1',
      report: (r) => reports.push(r.message),
    })
    for (let i = 0; i < 100; i++) tracer.trace('absent', (t) => t.recordStep('x', 1))
    expect(await tracer.getTraceId('unknown')).toBeUndefined()
    const start = performance.now()
    expect(await tracer.close({ timeoutMs: 300 })).toEqual({
      emitted: 300,
      sent: 0,
      buffered: 0,
      dropped: { unsent: 300 },
    })
    expect(performance.now() - start).toBeLessThan(10_000)
    expect(reports).toEqual([expect.stringMatching(/unsent/)])
  })

  test('redis-vanishes midway, and comes back: what was kept arrives, each event once or counted', async () => {
    await using server = await startRedis({ appendonly: true, args: ['--appendfsync', 'always'] })
    const tracer = new ExecutionTracer({ redis: server.url, ...quiet })
    tracer.trace('before', () => {})
    await tracer.flush()
    await server.kill()
    for (let i = 0; i < 200; i++) tracer.trace('during', (t) => t.recordStep('x', 1))
    await server.restart()
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    tracer.trace('after', () => {})
    expect(await tracer.close()).toEqual({ emitted: 604, sent: 604, buffered: 0, dropped: {} })
    const back = new Redis(server.url)
    const skills = new Map<unknown, Set<unknown>>()
    for (const { k, t } of await deltasIn(back)) skills.set(k, (skills.get(k) ?? new Set()).add(t))
    expect([...skills].map(([k, ids]) => [k, ids.size])).toEqual([
      ['before', 1],
      ['during', 200],
      ['after', 1],
    ])
    back.disconnect()
  })

  test('cut connections: frames that may have arrived are sent again unchanged', async () => {
    await using proxy = await faultProxy(url)
    const tracer = new ExecutionTracer({ redis: proxy.url, flushIntervalMs: 5, ...quiet })
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) tracer.trace('cut', (t) => t.recordStep(`${round}/${i}`, 1))
      await new Promise((resolve) => setImmediate(resolve))
      proxy.cut()
    }
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    expect(await tracer.close()).toEqual({ emitted: 3_000, sent: 3_000, buffered: 0, dropped: {} })
    const entries = (await redis.xrange(STREAM, '-', '+')) as [string, string[]][]
    const byNumber = new Map<string, string>()
    for (const [, fields] of entries) {
      const number = fields[fields.indexOf('n') + 1] as string
      const deltas = fields.at(-1) as string
      expect(byNumber.get(number) ?? deltas).toBe(deltas)
      byNumber.set(number, deltas)
    }
    expect(new Set((await deltasIn(redis)).map(({ t }) => t)).size).toBe(1_000)
  })
})

describe('a connection that the host lends', () => {
  test('is used while ready, never closed, and its own commands are unharmed', async () => {
    const lent = new Redis(url)
    await lent.ping()
    const listeners = lent.listenerCount('ready')
    const tracer = new ExecutionTracer({ redis: lent })
    tracer.trace('lent', () => {})
    expect(await tracer.close()).toMatchObject({ sent: 2 })
    expect(lent.listenerCount('ready')).toBe(listeners)
    expect(await lent.set('host', 'value')).toBe('OK')
    expect(await deltasIn(redis)).toHaveLength(1)
    lent.disconnect()
  })

  test('takes frames that are ready together in one write, and is not left corked', async () => {
    const lent = new Redis(url)
    await lent.ping()
    const socket = lent.stream as Socket
    const before = socket.bytesWritten
    const uncork = socket.uncork.bind(socket)
    let longest = 0
    socket.uncork = () => {
      longest = Math.max(longest, socket.writableLength)
      uncork()
    }
    const tracer = new ExecutionTracer({ redis: lent })
    for (let run = 0; run < 10; run++)
      tracer.trace('run', (t) => {
        for (let i = 0; i < 200; i++) t.recordStep('step', i)
      })
    expect(await tracer.flush()).toBe(true)
    expect(longest).toBeGreaterThan(50_000)
    expect(socket.bytesWritten - before).toBe(longest)
    expect(socket.writableCorked).toBe(0)
    await tracer.close()
    lent.disconnect()
  })

  test('vanishes: nothing of ours waits in its offline queue, the host’s own commands do, and all goes on afterwards', async () => {
    await using server = await startRedis({ appendonly: true })
    const lent = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
    lent.on('error', () => {})
    await lent.ping()
    const tracer = new ExecutionTracer({ redis: lent, ...quiet })
    await server.kill()
    await waitFor(() => lent.status !== 'ready', { what: 'the host notices' })
    const hosts = lent.incr('host')
    for (let i = 0; i < 1_000; i++) tracer.trace('vanished', (t) => t.recordStep('x', 1))
    await new Promise((resolve) => setTimeout(resolve, 100))
    // Of ioredis: what waits for a connection.
    expect((lent as unknown as { offlineQueue: { length: number } }).offlineQueue.length).toBe(1)
    await server.restart()
    expect(await hosts).toBe(1)
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    expect(tracer.counters()).toEqual({ emitted: 3_000, sent: 3_000, buffered: 0, dropped: {} })
    await tracer.close()
    lent.disconnect()
  })
})

describe('the process', () => {
  const run = (what: string, target = url) =>
    spawnProcess(new URL('./program.ts', import.meta.url), [what, target])

  test('ends by itself, and what it recorded was sent', async () => {
    await using program = run('ends')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(program.stderr()).toBe('')
    expect(await deltasIn(redis)).toHaveLength(50)
  })

  test('ends by itself with an idle connection', async () => {
    await using program = run('idle-first')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(await deltasIn(redis)).toHaveLength(1)
  })

  test('an awaited flush and an awaited close keep it alive until they are done', async () => {
    await using flushes = run('flushes')
    await using closes = run('closes')
    expect(await flushes.exited).toEqual({ code: 0, signal: null })
    expect(flushes.stdout()).toBe('true')
    expect(await closes.exited).toEqual({ code: 0, signal: null })
    expect(JSON.parse(closes.stdout())).toEqual({ emitted: 2, sent: 2, buffered: 0, dropped: {} })
  })

  test('ends by itself without Redis, in a few seconds, with a warning', async () => {
    const start = performance.now()
    await using program = run('ends', 'redis://127.0.0.1:1')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - start).toBeLessThan(30_000)
  })

  test('ends by itself where something accepts connections and never answers', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const start = performance.now()
    await using program = run('ends', `redis://127.0.0.1:${(silent.address() as AddressInfo).port}`)
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - start).toBeLessThan(30_000)
    silent.close()
  })
})

describe('TraceContext', () => {
  test('sets for 3600 s and gets', async () => {
    const context = new TraceContext(url)
    const id = '01a20be2-67dc-71f6-95e3-53220d4b476b'
    expect(await context.getTraceId('exec')).toBeUndefined()
    expect(await context.setTraceId('exec', id)).toBe(true)
    expect(await redis.get('trace_context:exec')).toBe(id)
    const ttl = await redis.ttl('trace_context:exec')
    expect(ttl).toBeGreaterThan(3_500)
    expect(ttl).toBeLessThanOrEqual(3_600)
    expect(await context.getTraceId('exec')).toBe(id)
    await expect(context.setTraceId('exec', 'x')).rejects.toThrow(/no trace id/)
    await context.close()
  })

  test('without Redis it says so and does not reject', async () => {
    await using context = new TraceContext('redis://127.0.0.1:1')
    expect(await context.setTraceId('exec', '01a20be2-67dc-71f6-95e3-53220d4b476b')).toBe(false)
    expect(await context.getTraceId('exec')).toBeUndefined()
    expect(() => new TraceContext('nonsense')).toThrow(/redis:\/\/host/)
  })
})
