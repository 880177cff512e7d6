import { ExecutionTracer } from '@stepwell/client'
import { GROUP, shardKeys } from '@stepwell/protocol'
import {
  type ClusterNode,
  type RedisCluster,
  replicated,
  spawnProcess,
  startRedisCluster,
  type TestDatabase,
  waitFor,
} from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'
import {
  endWorkers,
  expectStored,
  produce,
  spawnWorker,
  startWorkers,
  type WorkerProcess,
} from './worker-processes.ts'

// One cluster and two workers for all tests here, in this order: what one does to them the next finds.
const SHARDS = 4
let cluster: RedisCluster
let database: TestDatabase
let workers: WorkerProcess[] = []
let redis: Cluster
let tracer: ExecutionTracer
let env: Record<string, string>
const reports: string[] = []

beforeAll(async () => {
  ;[cluster, database] = await Promise.all([startRedisCluster(), createDatabase()])
  env = { REDIS_URL: cluster.url, DATABASE_URL: database.url, STEPWELL_SHARDS: String(SHARDS) }
  redis = new Cluster(cluster.masters.map(({ server }) => ({ host: '127.0.0.1', port: server.port })))
  redis.on('error', () => {})
  workers = await startWorkers(2, env)
  tracer = new ExecutionTracer({
    redis: cluster.url,
    shards: SHARDS,
    report: ({ message }) => reports.push(message),
  })
})
afterAll(async () => {
  await tracer?.close()
  redis?.disconnect()
  for (const worker of workers) await worker[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
  await database?.drop()
})

async function nothingIsPending(): Promise<void> {
  await waitFor(
    async () => {
      for (let shard = 0; shard < SHARDS; shard++) {
        const { events, due } = shardKeys('stepwell', shard)
        const [pending] = (await redis.xpending(events, GROUP)) as [number]
        if (Number(pending) > 0 || (await redis.zcard(due)) > 0) return false
      }
      return true
    },
    { what: 'nothing is pending or open' },
  )
}

test('traces flow through all shards, which lie on several masters, and no command crosses slots', async () => {
  const ids = await produce(tracer, 'flow', 200)
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  await expectStored(database.url, 'flow', ids)
  await nothingIsPending()
  const masters = new Set<string>()
  for (let shard = 0; shard < SHARDS; shard++) {
    const { events } = shardKeys('stepwell', shard)
    expect(await redis.xlen(events)).toBeGreaterThan(0)
    masters.add((await cluster.masterOf(events)).id)
  }
  expect(masters.size).toBeGreaterThan(1)
  expect(await tracer.getTraceId('flow-7')).toBe(await redis.get('trace_context:flow-7'))
  for (const worker of workers) expect(await worker.troubles()).toBe(0)
  expect(await cluster.errors('CROSSSLOT')).toBe(0)
  expect(reports).toEqual([])
})

test('the command line works on a cluster', async () => {
  const line = (i: number): string =>
    JSON.stringify({
      skill_name: 'imported',
      started_at: `2026-03-01T00:00:0${i}Z`,
      status: 'success',
      steps: [],
    })
  const input = Array.from({ length: 8 }, (_, i) => line(i)).join('\n')
  expect(await runCli(['import', '-'], env, { input })).toMatchObject({
    code: 0,
    stdout: 'imported 8 traces\n',
  })
  const over = Promise.withResolvers<void>()
  const open: string[] = []
  const ended = Array.from({ length: 8 }, (_, i) =>
    tracer.trace('open', { executionId: `open-${i}` }, async (trace) => {
      open.push(trace.traceId)
      await over.promise
    }),
  )
  await tracer.flush()
  await waitFor(
    async () =>
      (await runCli(['running', '--json'], env)).stdout.match(/"skill_name": "open"/g)?.length === 8,
    { what: 'all are seen running', intervalMs: 200 },
  )
  expect(await runCli(['trace', open[0] as string], env)).toMatchObject({ code: 0 })
  const tailed = await runCli(['tail', '--since', '1h', '--json', '--skill', 'open'], env, {
    killAfter: /(?:"event":"start"[\s\S]*?){8}/,
  })
  expect(tailed.stdout.match(/"event":"start"/g)).toHaveLength(8)
  expect(await runCli(['delete', '--execution', 'open-3'], env)).toMatchObject({ code: 0 })
  const doctor = await runCli(['doctor', '--json'], env)
  expect(doctor.code, doctor.stdout + doctor.stderr).toBe(0)
  expect(doctor.stdout.match(/"name": "equation \d"/g)).toHaveLength(SHARDS)
  expect(doctor.stdout.match(/"name": "persistence 127.0.0.1:\d+"/g)).toHaveLength(3)
  expect(await cluster.errors('CROSSSLOT')).toBe(0)
  over.resolve()
  await Promise.all(ended)
  await tracer.flush()
  await nothingIsPending()
})

test('a drill works on a cluster: its worker is killed, nothing is lost, and no key of it is left on any node', async () => {
  const worker = new URL('../apps/worker/src/main.ts', import.meta.url).pathname
  const end = await runCli(['doctor', '--drill', '--runs', '400', '--worker', worker, '--json'], env)
  expect(end.code, end.stderr + end.stdout).toBe(0)
  expect(JSON.parse(end.stdout)).toMatchObject({ ok: true, recorded: 400, stored: 400, dead: 0, lost: 0 })
  for (const { redis: node } of cluster.masters) expect(await node.keys('*drill*')).toEqual([])
  expect(await cluster.errors('CROSSSLOT')).toBe(0)
})

test('a slot that moves to another master while runs are recorded: nothing is lost', async () => {
  const { events } = shardKeys('stepwell', 0)
  const from = await cluster.masterOf(events)
  const to = cluster.masters.find(({ id }) => id !== from.id) as ClusterNode
  const moved = (async () => {
    await waitFor(() => tracer.counters().sent > 0, { what: 'runs are recorded' })
    await cluster.moveSlot(events, to)
    expect((await cluster.masterOf(events)).id).toBe(to.id)
    await waitFor(async () => (await redis.xinfo('GROUPS', events)) !== null, { what: 'the cluster goes on' })
  })()
  const ids = await produce(tracer, 'moved', 300, moved)
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  await expectStored(database.url, 'moved', ids)
  await nothingIsPending()
})

test('a master that is killed when its replica has all of it: nothing is lost, and all goes on by itself', async () => {
  const { events } = shardKeys('stepwell', 1)
  const before = await produce(tracer, 'killed', 100)
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  const master = await cluster.masterOf(events)
  await replicated(master)
  await master.server.kill()
  const promoted = waitFor(async () => (await cluster.masterOf(events)).id !== master.id, {
    what: 'the replica is promoted',
  })
  const during = await produce(tracer, 'killed', 100, promoted)
  const after = await produce(tracer, 'killed', 20)
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  await expectStored(database.url, 'killed', [...before, ...during, ...after])
  await nothingIsPending()
  expect(await cluster.errors('CROSSSLOT')).toBe(0)
  expect(tracer.counters().dropped).toEqual({})
})

test('a plain URL of one node is refused with the form to use, by worker, command line and client', async () => {
  const url = cluster.replicas[0]?.server.url as string
  await using worker = spawnWorker({ ...env, REDIS_URL: url })
  expect(await worker.exited).toEqual({ code: 2, signal: null })
  expect(worker.stderr()).toMatch(/is a node of a Redis Cluster: .*redis\+cluster:\/\/host:port/)
  const cli = await runCli(['tail'], { ...env, REDIS_URL: url })
  expect(cli).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/set REDIS_URL to redis\+cluster:\/\/127/),
  })
  const said: string[] = []
  const plain = new ExecutionTracer({ redis: url, report: ({ message }) => said.push(message) })
  plain.trace('plain', () => {})
  await plain.close({ timeoutMs: 1_000 })
  expect(said[0]).toMatch(/redis\+cluster:\/\/host:port/)
})

test('a process with a cluster of its own ends by itself, and what it recorded was sent', async () => {
  const program = (what: string) =>
    spawnProcess(new URL('../packages/client/test/program.ts', import.meta.url), [what, cluster.url])
  const [ends, idle] = [program('ends'), program('idle-first')]
  expect(await ends.exited, ends.stderr()).toEqual({ code: 0, signal: null })
  expect(await idle.exited, idle.stderr()).toEqual({ code: 0, signal: null })
  expect(ends.stderr() + idle.stderr()).toBe('')
  const { events } = shardKeys('stepwell', 0)
  const entries = (await redis.xrevrange(events, '+', '-', 'COUNT', 10)) as [string, string[]][]
  expect(entries.flatMap(([, fields]) => fields).join()).toMatch(/idle-first/)
})

test('the workers leave in order', async () => {
  await endWorkers(workers)
})
