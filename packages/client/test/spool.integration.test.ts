import { mkdtemp, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assemble, type Delta, derive, type Said } from '@stepwell/protocol'
import { decodeFrame } from '@stepwell/protocol/schema'
import { spawnProcess, startRedis, waitFor } from '@stepwell/testkit'
import { redisForFile } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ExecutionTracer, type TracerReport } from '../src/index.ts'

const NOWHERE = 'redis://127.0.0.1:1'
let url: string
let redis: Redis
let folder: string

beforeAll(async () => {
  url = await redisForFile()
  redis = new Redis(url)
})
beforeEach(async () => {
  await redis.flushdb()
  folder = await mkdtemp(join(tmpdir(), 'stepwell-spool-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))
afterAll(() => redis.disconnect())

const run = (what: string, target: string) =>
  spawnProcess(new URL('./program.ts', import.meta.url), [what, target, folder])
const files = async (): Promise<string[]> => (await readdir(folder)).sort()
const quiet = { report: () => {} }

/** What the stream holds, as a worker would see it. */
async function arrived(): Promise<{ frames: string[]; traces: ReturnType<typeof assemble>[] }> {
  const said = new Map<string, Said[]>()
  const frames: string[] = []
  for (const [, fields] of (await redis.xrange('stepwell:{0}:events', '-', '+')) as [string, string[]][]) {
    const decoded = decodeFrame(fields, Date.now())
    if (!decoded.ok) throw new Error(decoded.reason)
    expect(decoded.refused).toEqual([])
    if (decoded.deltas.length > 0) frames.push(`${decoded.frame.producer}:${decoded.frame.number}`)
    for (const delta of decoded.deltas as Delta[])
      said.set(delta.t, [...(said.get(delta.t) ?? []), { producer: '', delta }])
  }
  return { frames, traces: [...said.values()].map((some) => assemble(some)) }
}

/** A start that sends what lies there. */
async function sendAll(): Promise<void> {
  await using tracer = new ExecutionTracer({ redis: url, spool: folder })
  await waitFor(async () => (await files()).length === 0, { what: 'the spool is empty' })
  expect(tracer.counters()).toEqual({ emitted: 0, sent: 0, buffered: 0, spooled: 0, dropped: {} })
}

test('redis-absent at close: all of it is written, and a later start sends it, once in effect', async () => {
  const tracer = new ExecutionTracer({ redis: NOWHERE, spool: folder, ...quiet })
  for (let i = 0; i < 200; i++) tracer.trace('later', (t) => t.step('work', () => {}))
  const open = tracer.startTrace('open')
  expect(await tracer.close({ timeoutMs: 200 })).toEqual({
    emitted: 601,
    sent: 0,
    buffered: 0,
    spooled: 601,
    dropped: {},
  })
  const [file] = await files()
  expect((await stat(join(folder, file as string))).mode & 0o777).toBe(0o600)
  await sendAll()
  const { traces } = await arrived()
  expect(traces).toHaveLength(201)
  expect(traces.every((trace) => derive(trace).missingSteps === 0)).toBe(true)
  expect(traces.filter((trace) => trace.end === null)).toMatchObject([{ traceId: open }])
})

test.each([
  ['exits', 'process.exit() at once', 7],
  ['throws', 'an uncaught exception', 1],
])('%s: %s loses nothing', async (what, _, code) => {
  await using program = run(what, url)
  expect((await program.exited).code).toBe(code)
  expect(await files()).toHaveLength(1)
  await sendAll()
  expect((await arrived()).traces).toMatchObject([{ skill: 'exits', steps: { length: 100 } }])
})

test('ends by itself while Redis is away: kept', async () => {
  await using program = run('ends', NOWHERE)
  expect((await program.exited).code).toBe(0)
  await sendAll()
  expect((await arrived()).traces).toHaveLength(50)
})

test.each(['away', 'full'] as const)(
  'memory fills while Redis is %s: it goes to disk meanwhile, and from there when that is over',
  async (trouble) => {
    const server = await startRedis({ appendonly: false })
    const reports: string[] = []
    const tracer = new ExecutionTracer({
      redis: server.url,
      spool: folder,
      bufferMaxBytes: 4 << 20,
      report: ({ kind }) => reports.push(kind),
    })
    await waitFor(() => tracer.flush(), { what: 'it is connected' })
    const there = new Redis(server.url, { maxRetriesPerRequest: null })
    there.on('error', () => {})
    if (trouble === 'away') await server.kill()
    else await there.config('SET', 'maxmemory', '1')
    let recorded = tracer.trace('spilled', () => 2)
    if (trouble === 'full') await waitFor(() => reports.length > 0, { what: 'Redis refuses it' })
    for (let i = 1; i < 10_000; i++) {
      recorded += tracer.trace('spilled', (t) => {
        for (let k = 0; k < 5; k++) t.recordStep('work', k)
        return 7
      })
      // No faster than the disk takes it: half of the buffer are 18,000, three quarters 27,000; 4,096 may be in frames.
      if (i % 20 !== 0) continue
      await new Promise((resolve) => setImmediate(resolve))
      await waitFor(() => tracer.counters().buffered < 24_000, {
        what: 'the disk keeps up',
        intervalMs: 1,
      })
    }
    expect(tracer.counters().emitted).toBe(recorded)
    expect(tracer.counters().dropped).toEqual({})
    expect(tracer.counters().spooled).toBeGreaterThan(recorded / 2)
    if (trouble === 'away') await server.restart()
    else await there.config('SET', 'maxmemory', '0')
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    await waitFor(async () => (await files()).length === 0, { what: 'the spool is empty' })
    const counters = await tracer.close()
    expect(counters.sent + (counters.spooled ?? 0)).toBe(recorded)
    const entries = (await there.xrange('stepwell:{0}:events', '-', '+')) as [string, string[]][]
    const ids = new Set(
      entries.flatMap(([, fields]) =>
        JSON.parse(fields[fields.indexOf('d') + 1] as string).map((d: Delta) => d.t),
      ),
    )
    expect(ids.size).toBe(10_000)
    there.disconnect()
    await server.stop()
  },
)

test('redis-full: a file larger than what Redis has room for is sent in parts, as room is made, and none of it twice', async () => {
  const before = new ExecutionTracer({ redis: NOWHERE, spool: folder, bufferMaxBytes: 64 << 20, ...quiet })
  for (let i = 0; i < 20_000; i++) before.trace('much', (t) => t.recordStep('work', i))
  await before.close({ timeoutMs: 1 })
  const all = await Promise.all((await files()).map((file) => readFile(join(folder, file), 'utf8')))
  const frames = all.reduce((sum, text) => sum + text.split('\n').length - 2, 0)
  await using server = await startRedis()
  const there = new Redis(server.url)
  const used = Number(/used_memory:(\d+)/.exec(await there.info('memory'))?.[1])
  await there.config('SET', 'maxmemory', used + (1 << 20))
  await using _later = new ExecutionTracer({ redis: server.url, spool: folder, ...quiet })
  const arrived: number[] = []
  let length = 0
  await waitFor(
    async () => {
      const before = length
      length = await there.xlen('stepwell:{0}:events')
      // As workers do: when no more comes in, what has come goes.
      if (length > 0 && length === before) arrived.push(await there.xtrim('stepwell:{0}:events', 'MAXLEN', 0))
      return (await files()).length === 0
    },
    { what: 'the spool is empty', intervalMs: 100 },
  )
  arrived.push(await there.xlen('stepwell:{0}:events'))
  expect(arrived.length).toBeGreaterThan(2)
  expect(arrived.reduce((sum, n) => sum + n)).toBe(frames)
  there.disconnect()
})

test('damaged files are set aside, what can be read of them is sent, and nothing is fatal', async () => {
  const tracer = new ExecutionTracer({ redis: NOWHERE, spool: folder, ...quiet })
  for (let i = 0; i < 2_000; i++) tracer.trace('half', () => {})
  await tracer.close({ timeoutMs: 50 })
  const [whole] = await files()
  const path = join(folder, whole as string)
  const lines = (await readFile(path, 'utf8')).split('\n').length - 2
  await truncate(path, (await stat(path)).size - 40)
  await writeFile(join(folder, 'junk.frames'), Buffer.from([0, 255, 1, 2, 3]))
  await writeFile(
    join(folder, 'other.frames'),
    '{"stepwell_spool":1}\n{"producer":"x","number":1,"deltas":"[{}]","deltaCount":1}\n',
  )
  const reports: TracerReport[] = []
  await using next = new ExecutionTracer({
    redis: url,
    spool: folder,
    report: (report) => reports.push(report),
  })
  await waitFor(async () => (await files()).every((name) => name.endsWith('.damaged')), {
    what: 'all are dealt with',
  })
  expect(await files()).toHaveLength(3)
  expect((await arrived()).frames).toHaveLength(lines - 1)
  expect(reports).toMatchObject([{ message: expect.stringMatching(/damaged/) }])
  expect(next.trace('goes on', () => 42)).toBe(42)
})

test('a file that its process was killed over is sent as far as it goes, when nobody writes it any more', async () => {
  const tracer = new ExecutionTracer({ redis: NOWHERE, spool: folder, ...quiet })
  for (let i = 0; i < 2_000; i++) tracer.trace('unfinished', () => {})
  await tracer.close({ timeoutMs: 50 })
  const [name] = await files()
  const path = join(folder, `${name}.tmp`)
  await rename(join(folder, name as string), path)
  const lines = (await readFile(path, 'utf8')).split('\n').length - 2
  await truncate(path, (await stat(path)).size - 40)
  await using next = new ExecutionTracer({ redis: url, spool: folder, ...quiet })
  await next.close()
  expect(await files()).toEqual([`${name}.tmp`])
  await utimes(path, new Date(), new Date(Date.now() - 61_000))
  await sendAll()
  expect((await arrived()).frames).toHaveLength(lines - 1)
})

test('two processes on one folder: each file is sent, and none is left', async () => {
  for (let i = 0; i < 20; i++) {
    const tracer = new ExecutionTracer({ redis: NOWHERE, spool: folder, ...quiet })
    tracer.trace('shared', (t) => t.step('work', () => {}))
    await tracer.close({ timeoutMs: 0 })
  }
  expect(await files()).toHaveLength(20)
  await Promise.all(Array.from({ length: 4 }, () => sendAll()))
  const { traces } = await arrived()
  expect(traces).toHaveLength(20)
  // One that was claimed by a process that was killed then is nobody's.
  const tracer = new ExecutionTracer({ redis: NOWHERE, spool: folder, ...quiet })
  tracer.trace('orphan', () => {})
  await tracer.close({ timeoutMs: 0 })
  const [file] = await files()
  const dead = spawnProcess(new URL('./program.ts', import.meta.url), ['none', NOWHERE])
  await dead.exited
  await rename(join(folder, file as string), join(folder, `${file}.${dead.pid}-abcd.claimed`))
  await sendAll()
  expect((await arrived()).traces).toHaveLength(21)
})

test('the limit holds, and what goes over it is counted; a folder that cannot be is told once', async () => {
  const tracer = new ExecutionTracer({ redis: NOWHERE, spool: { folder, maxBytes: 65_536 }, ...quiet })
  for (let i = 0; i < 4_000; i++) tracer.trace('much', (t) => t.step('work', () => {}))
  const { emitted, spooled = 0, dropped, buffered } = await tracer.close({ timeoutMs: 50 })
  expect({ emitted, buffered }).toEqual({ emitted: 12_000, buffered: 0 })
  expect(spooled).toBeGreaterThan(0)
  expect(dropped).toEqual({ spool_full: emitted - spooled })
  let size = 0
  for (const name of await files()) size += (await stat(join(folder, name))).size
  expect(size).toBeLessThanOrEqual(65_536)

  const reports: TracerReport[] = []
  const blocked = new ExecutionTracer({
    redis: NOWHERE,
    spool: '/dev/null/spool',
    report: (report) => reports.push(report),
  })
  blocked.trace('x', () => {})
  expect(await blocked.close({ timeoutMs: 50 })).toEqual({
    emitted: 2,
    sent: 0,
    buffered: 0,
    spooled: 0,
    dropped: { spool_full: 2 },
  })
  expect(reports.filter((report) => report.message.startsWith('spool:'))).toHaveLength(1)
  for (const spool of ['', 7, {}, { folder: 'x', maxBytes: 1 }])
    expect(() => new ExecutionTracer({ redis: NOWHERE, spool: spool as never })).toThrow(/spool/)
})
