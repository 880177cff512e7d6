import { newTraceId } from '@stepwell/protocol'
import { TraceStorage } from '@stepwell/storage'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { expect, test } from 'vitest'

test('a server that writes times otherwise, in another zone, by default: traces are read and merged as they were', async () => {
  const database = await createDatabase()
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const name = new URL(database.url).pathname.slice(1)
  await client.query(`alter database ${name} set datestyle = 'German, DMY'`)
  await client.query(`alter database ${name} set timezone = 'Asia/Kolkata'`)
  await client.end()
  {
    await using storage = new TraceStorage(database.url)
    const startedAt = new Date('2026-10-01T23:59:59.123Z')
    const completedAt = new Date(startedAt.getTime() + 300)
    const trace = {
      traceId: newTraceId(startedAt.getTime()),
      skillName: 'build',
      startedAt,
      completedAt,
      steps: [{ name: 'load', timestamp: startedAt, durationMs: 100, status: 'success' as const }],
    }
    await storage.finalizeTrace(trace, 'success')
    // Merged with the row that is there.
    await storage.finalizeTrace(trace, 'success')
    expect(await storage.getTrace(trace.traceId)).toMatchObject({
      startedAt,
      completedAt,
      stepCount: 1,
      steps: [{ name: 'load', timestamp: startedAt }],
    })
  }
  await database.drop()
})

test('a lent pool that writes times otherwise is refused, with what to do; its connections stay with their owner', async () => {
  const database = await createDatabase()
  const trace = { traceId: newTraceId(Date.now()), skillName: 'build', startedAt: new Date() }
  {
    await using german = lend(database.url, '-c datestyle=German')
    await using storage = new TraceStorage(german.pool)
    await expect(storage.finalizeTrace(trace, 'success')).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(`'German, DMY', and only ISO can be read: make the pool with options`),
    })
    const { totalCount, idleCount } = german.pool
    expect([totalCount, idleCount]).toEqual([1, 1])
  }
  {
    await using pool = lend(database.url, '-c datestyle=ISO,DMY')
    await using storage = new TraceStorage(pool.pool)
    await storage.finalizeTrace(trace, 'success')
    expect(await storage.getTrace(trace.traceId)).toMatchObject({ skillName: 'build' })
  }
  await database.drop()
})

function lend(connectionString: string, options: string): AsyncDisposable & { pool: pg.Pool } {
  const pool = new pg.Pool({ connectionString, options, max: 1 })
  return { pool, [Symbol.asyncDispose]: () => pool.end() }
}
