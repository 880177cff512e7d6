import { ExecutionTracer } from '@stepwell/client'
import { GROUP, shardKeys } from '@stepwell/protocol'
import { replicated, spawnProcess, startWatchedRedis, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { runCli } from './cli-bench.ts'
import { endWorkers, expectStored, produce, startWorkers } from './worker-processes.ts'

test('a master that dies: worker, client and command line go on with the one that sentinels promote', async () => {
  const [watched, database] = await Promise.all([startWatchedRedis(), createDatabase()])
  const env = { REDIS_URL: watched.url, DATABASE_URL: database.url }
  const workers = await startWorkers(2, env)
  const [master, replica] = [new Redis(watched.master.url), new Redis(watched.replica.url)]
  for (const redis of [master, replica]) redis.on('error', () => {})
  try {
    await using tracer = new ExecutionTracer({ redis: watched.url, report: () => {} })
    const before = await produce(tracer, 'killed', 50)
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    await replicated({ redis: master })
    await watched.master.kill()
    const promoted = waitFor(async () => /role:master/.test(await replica.info('replication')), {
      what: 'the replica is promoted',
    })
    const during = await produce(tracer, 'killed', 50, promoted)
    const after = await produce(tracer, 'killed', 20)
    expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
    await expectStored(database.url, 'killed', [...before, ...during, ...after])
    expect(tracer.counters().dropped).toEqual({})
    const { events, due } = shardKeys('stepwell', 0)
    await waitFor(
      async () =>
        Number(((await replica.xpending(events, GROUP)) as [number])[0]) + (await replica.zcard(due)) === 0,
      { what: 'nothing is pending or open' },
    )
    expect((await runCli(['doctor'], env)).stdout).toMatch(/equation/)
    await using program = spawnProcess(new URL('../packages/client/test/program.ts', import.meta.url), [
      'idle-first',
      watched.url,
    ])
    expect(await program.exited, program.stderr()).toEqual({ code: 0, signal: null })
    expect(program.stderr()).toBe('')
    await endWorkers(workers)
  } finally {
    for (const redis of [master, replica]) redis.disconnect()
    for (const worker of workers) await worker[Symbol.asyncDispose]()
    await watched[Symbol.asyncDispose]()
    await database.drop()
  }
})
