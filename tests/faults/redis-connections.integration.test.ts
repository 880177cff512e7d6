import type { TracerReport } from '@stepwell/client'
import { type FaultProxy, faultProxy, waitFor } from '@stepwell/testkit'
import type { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'
import { seededRandom } from './seeded-random.ts'

const SEED = 20_261_127
const CUTS = 60

test('redis-connections-half-open, then cut at random moments: workers and client notice, go on by themselves, and all is stored', async () => {
  await using bench = await openFaultBench()
  const { redis, server } = bench
  await using toClient = await faultProxy(server.url)
  await using toFirst = await faultProxy(server.url)
  await using toSecond = await faultProxy(server.url)
  await using toThird = await faultProxy(server.url)
  const proxies = [toClient, toFirst, toSecond, toThird]
  const workers = await Promise.all(
    [toFirst, toSecond, toThird].map(({ url }) => bench.startWorker({ REDIS_URL: url })),
  )
  const reports: TracerReport[] = []
  const load = new Load({
    redis: toClient.url,
    seed: SEED,
    runsPerSecond: 300,
    tracer: { report: (report) => reports.push(report) },
  }).start()
  await waitFor(async () => (await bench.rows('select 1 from execution_traces limit 200')).length === 200, {
    what: 'runs are stored',
  })

  // The client's connection, and of each worker another.
  const harmed = await Promise.all([
    portsOf(redis, toClient, /./),
    portsOf(redis, toFirst, /^main$/),
    portsOf(redis, toSecond, /^reading$/),
    portsOf(redis, toThird, /^jobs/),
  ])
  expect(harmed.map((ports) => ports.length)).toEqual([1, 1, 1, 2])
  const before = load.tracer.counters().emitted
  for (const [i, proxy] of proxies.entries()) proxy.halfOpen(harmed[i])
  await waitFor(async () => (await workers[0]?.health('/ready')) === 503, {
    what: 'the first worker says that Redis does not answer',
  })
  for (const worker of workers.slice(1))
    await waitFor(async () => (await worker.health('/ready')) === 200, { what: 'the others are ready' })
  await bench.allSay('/live', 200)
  const dead = harmed.flat()
  await waitFor(
    async () => {
      const counts = proxies.map((proxy) => proxy.ports().filter((port) => !dead.includes(port)).length)
      return counts.join() === '1,4,4,4'
    },
    { what: 'each is connected anew', intervalMs: 100 },
  )
  await bench.allSay('/ready', 200)
  await bench.allSay('/live', 200)
  await waitFor(() => load.tracer.counters().emitted > before + 10_000, {
    what: 'as much is recorded as before',
  })
  await waitFor(() => reports.length >= 2, { what: 'the client tells that it is over' })

  const random = seededRandom(SEED)
  for (let cut = 0; cut < CUTS; cut++) {
    const momentMs = performance.now() + random() * 100
    await waitFor(() => performance.now() >= momentMs, { what: 'its moment comes', intervalMs: 1 })
    proxies[Math.floor(random() * proxies.length)]?.cut()
  }
  await bench.allSay('/ready', 200)
  await bench.allSay('/live', 200)

  const { dropped, sent, emitted } = await load.stop()
  expect({ dropped, lost: emitted - sent }).toEqual({ dropped: {}, lost: 0 })
  // Each time it tells once that there is trouble and once that it is over.
  expect(reports.map(({ kind }) => kind)).toEqual(
    reports.map((_, i) => (i % 2 === 0 ? 'trouble' : 'recovered')),
  )
  expect(reports.every((report) => Object.keys(report.dropped).length === 0)).toBe(true)
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
})

/**
 * The ports of connections through a proxy, of those that are named so. What a worker's connections are for shows in what Redis did last
 * on them, and in their order: `main` is its first, then those of BullMQ, `jobs` and `jobs, waiting`, then that for `reading`.
 */
async function portsOf(redis: Redis, proxy: FaultProxy, named: RegExp): Promise<number[]> {
  const commands = new Map<number, string>()
  for (const line of String(await redis.client('LIST')).split('\n')) {
    const [, port, command] = / addr=[^ ]*:(\d+) .* cmd=(\S+)/.exec(line) ?? []
    if (port !== undefined && command !== undefined) commands.set(Number(port), command)
  }
  const others = ['main', 'jobs']
  const names = { xreadgroup: 'reading', bzpopmin: 'jobs, waiting' } as Record<string, string>
  return proxy
    .ports()
    .filter((port) => named.test(names[commands.get(port) ?? ''] ?? others.shift() ?? 'unknown'))
}
