import { ExecutionTracer } from '@stepwell/client'
import { CORRELATION_TTL_S, correlationKey, shardKeys } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ALL_WELL, type FaultBench, openFaultBench } from '../faults/fault-bench.ts'

const KEY = correlationKey('exec-long')

/** The key expires, by Redis's own clock. */
async function expire({ redis }: FaultBench): Promise<void> {
  expect(await redis.pexpire(KEY, 1)).toBe(1)
  await waitFor(async () => (await redis.exists(KEY)) === 0, { what: 'the key is gone', intervalMs: 1 })
}

const isFresh = async ({ redis }: FaultBench): Promise<boolean> =>
  (await redis.ttl(KEY)) > CORRELATION_TTL_S - 60

test('a trace that outlives its correlation key: the key slides while it is open, comes back when it is gone, and Postgres stands in for it', async () => {
  await using bench = await openFaultBench()
  await using query = new TraceQuery({ connectionString: bench.databaseUrl })
  const worker = await bench.startWorker()
  const owner = new ExecutionTracer({ redis: bench.server.url })
  const traceId = owner.startTrace('long', 'exec-long')
  owner.attach({ traceId }).recordStep('begin', 1)
  await owner.flush()
  await waitFor(() => isFresh(bench), { what: 'the key is set' })
  // As if it were about to expire; a checkpoint touches it.
  await bench.redis.expire(KEY, 100)
  await waitFor(() => isFresh(bench), { what: 'the key slides' })
  await expire(bench)
  await waitFor(() => isFresh(bench), { what: 'the key is back' })

  // Nobody brings it back now.
  await worker.kill('SIGKILL')
  await expire(bench)
  const alone = new ExecutionTracer({ redis: bench.server.url })
  const other = new ExecutionTracer({
    redis: bench.server.url,
    resolveTimeoutMs: 100,
    resolveTraceId: (executionId) => query.getTraceId(executionId),
  })
  await waitFor(() => bench.redis.ping(), { what: 'Redis answers' })
  expect(await alone.getTraceId('exec-long')).toBeUndefined()
  expect(await other.getTraceId('exec-long')).toBe(traceId)
  expect((await query.getTraceByExecutionId('exec-long'))?.traceId).toBe(traceId)
  other.attach({ executionId: 'exec-long' }).recordStep('elsewhere', 1)
  expect(await other.flush()).toBe(true)

  await bench.startWorker()
  owner.endTrace('success', { traceId })
  for (const tracer of [owner, other, alone])
    expect(await tracer.close()).toMatchObject({ buffered: 0, dropped: {} })
  expect(
    await bench.account(new Map([[traceId, { status: 'success', steps: 2, errorMessage: null }]])),
  ).toEqual(ALL_WELL)
})

test('however old an open trace is, it is looked at again well before its key expires; until then as late as it is old', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  const tracer = new ExecutionTracer({ redis: bench.server.url })
  const { due } = shardKeys('stepwell', 0)
  const ages = [60, 300, 2 * CORRELATION_TTL_S, 86_400]
  const ids = ages.map((ageS) =>
    tracer.startTrace('old', { startedAt: Date.now() - ageS * 1_000, executionId: `old-${ageS}` }),
  )
  await tracer.flush()
  const inS = await waitFor(
    async () => {
      const scores = await bench.redis.zmscore(due, ...ids)
      const all = scores.map((score) => (Number(score ?? 0) - Date.now()) / 1_000)
      return all.every((s) => s > 30) ? all : undefined
    },
    { what: 'their first checkpoints are over' },
  )
  for (const [i, s] of [60, 300, 600, 600].entries())
    expect(Math.abs((inS[i] as number) - s)).toBeLessThan(15)
  await tracer.close()
})
