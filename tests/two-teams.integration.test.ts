import { ExecutionTracer, TraceContext } from '@stepwell/client'
import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import { spawnProcess, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'

// Two teams on one Redis and one Postgres: each has a namespace and a schema, and neither sees anything of the other.
test('two teams with the same names on the same servers do not meet', async () => {
  const [redisUrl, database] = await Promise.all([redisForFile(), createDatabase({ empty: true })])
  const redis = new Redis(redisUrl)
  {
    const teams = await Promise.all(
      ['team-a', 'team-b'].map(async (namespace) => {
        const schema = namespace.replace('-', '_')
        const worker = await createWorker({
          redis: redisUrl,
          database: database.url,
          namespace,
          schema,
          checkpointMs: 200,
        })
        const tracer = new ExecutionTracer({ redis: redisUrl, namespace })
        return { namespace, schema, worker, tracer, query: new TraceQuery(database.url, { schema }) }
      }),
    )
    for (const { namespace, tracer } of teams) {
      await tracer.trace('build', { executionId: 'same-id', metadata: { team: namespace } }, (t) =>
        t.step('work', () => {}),
      )
      tracer.startTrace('open', { executionId: 'open-id', metadata: { team: namespace } })
      await tracer.flush()
    }
    for (const { namespace, schema, query, tracer } of teams) {
      await waitFor(async () => (await query.findTraces()).traces.length === 2, {
        what: `${namespace} has its traces`,
      })
      const traces = (await query.findTraces()).traces
      expect(traces.map((trace) => trace.metadata.team)).toEqual([namespace, namespace])
      const [build] = await query.queryBySkill('build')
      // Correlation is apart too.
      expect(await tracer.getTraceId('same-id')).toBe(build?.traceId)
      await using context = new TraceContext(redisUrl, { namespace })
      expect(await context.getTraceId('same-id')).toBe(build?.traceId)
      // And the command line, by its environment.
      await using cli = spawnProcess(
        new URL('../apps/cli/src/main.ts', import.meta.url),
        ['running', '--json'],
        {
          REDIS_URL: redisUrl,
          DATABASE_URL: database.url,
          STEPWELL_NAMESPACE: namespace,
          STEPWELL_SCHEMA: schema,
        },
      )
      await cli.exited
      expect(JSON.parse(cli.stdout()).running).toMatchObject([
        { skill_name: 'open', metadata: { team: namespace } },
      ])
    }
    // Every key of ours has its namespace in front: the streams, the open state, correlation, and those of BullMQ.
    const keys = await redis.keys('*')
    expect(keys.filter((key) => !/^team-[ab]:/.test(key))).toEqual([])
    for (const kind of [/:\{0\}:events$/, /:trace_context:same-id$/, /:\{maintenance\}:/])
      expect(keys.filter((key) => kind.test(key)).map((key) => key.slice(0, 6))).toEqual(
        expect.arrayContaining(['team-a', 'team-b']),
      )
    for (const { tracer, worker, query } of teams) {
      await tracer.close()
      await query.close()
      await worker.close()
    }
  }
  for (const namespace of ['a b', '', 'x'.repeat(65), 'a{b}', 'ä'])
    expect(() => new ExecutionTracer({ redis: redisUrl, namespace }), namespace).toThrow(/namespace/)
  for (const schema of ['a-b', 'A', '1a', 'a;b', 'x'.repeat(64)]) {
    expect(() => new TraceQuery(database.url, { schema }), schema).toThrow(/schema name/)
    expect(() => new TraceStorage(database.url, { schema }), schema).toThrow(/schema name/)
  }
  redis.disconnect()
  await database.drop()
})
