import { newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { migrateToLatest, TraceStorage } from '@stepwell/storage'
import { startPostgres, waitFor } from '@stepwell/testkit'
import { redisForFile } from '@stepwell/testkit/vitest'
import { createWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'

// A frozen process of Postgres (SIGSTOP) keeps its connection open, acknowledges what it is sent, and says nothing: only who waits can
// end that.

test('a Postgres that stands still in the middle of it fails who asks, in time; the worker goes on by other connections', async () => {
  await using postgres = await startPostgres()
  const redisUrl = await redisForFile()
  const redis = new Redis(redisUrl)
  const own = new pg.Client({ connectionString: postgres.url })
  await own.connect()
  await migrateToLatest({ connectionString: postgres.url })
  const named = { connectionString: postgres.url, application_name: 'frozen' }
  await using query = new TraceQuery(named, { statementTimeoutMs: 500 })
  await using storage = new TraceStorage(named, { timeoutMs: 500 })
  await using _worker = await createWorker({
    redis: redisUrl,
    database: named,
    migrate: false,
    databaseTimeoutMs: 500,
  })
  const producer = new FrameProducer(redis)
  const stored = async (): Promise<number> => (await own.query('select from execution_traces')).rowCount ?? 0
  await producer.send(wholeDelta('before', 1))
  await waitFor(async () => (await stored()) === 1, { what: 'the first is stored' })
  await Promise.all([query.findTraces(), storage.getTrace(newTraceId(Date.now()))])

  const { rows } = await own.query<{ pid: number }>(
    "select pid from pg_stat_activity where application_name = 'frozen'",
  )
  for (const { pid } of rows) process.kill(pid, 'SIGSTOP')
  try {
    await producer.send(wholeDelta('meanwhile', 1), wholeDelta('meanwhile', 2))
    const given = {
      code: 'ETIMEDOUT',
      message: 'Postgres has not answered for 5.5 s: it stands still, or cannot be reached any more',
    }
    const trace = { traceId: newTraceId(Date.now()), skillName: 'direct', startedAt: new Date() }
    await Promise.all([
      // In a transaction.
      expect(query.findSimilarFailures('connection refused')).rejects.toMatchObject(given),
      expect(storage.finalizeTrace(trace, 'success')).rejects.toMatchObject(given),
      waitFor(async () => (await stored()) === 3, {
        what: 'the worker stores by another connection',
      }),
    ])
    // The next calls do not wait behind what was lost.
    expect(await query.findSimilarFailures('connection refused')).toEqual([])
    expect(await storage.finalizeTrace(trace, 'success')).toMatchObject({ status: 'success' })
  } finally {
    for (const { pid } of rows) process.kill(pid, 'SIGCONT')
  }
  redis.disconnect()
  await own.end()
})
