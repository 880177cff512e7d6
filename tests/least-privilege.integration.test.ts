import { readFileSync } from 'node:fs'
import { ExecutionTracer } from '@stepwell/client'
import { TraceQuery } from '@stepwell/query'
import { spawnProcess, startRedis, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'

// The roles of docs/security, as they stand there: everything works with them, and nothing more.

const read = (file: string): string =>
  readFileSync(new URL(`../docs/security/${file}`, import.meta.url), 'utf8')
const roles = ['stepwell_owner', 'stepwell_worker', 'stepwell_reader']

test('producer, worker and reader do their work with the rights of docs/security, and cannot do more', {
  timeout: 60_000,
}, async () => {
  const server = await startRedis({ appendonly: false })
  const admin = new Redis(server.url)
  for (const line of read('redis-users.acl').trim().split('\n')) {
    const [, name = '', ...rules] = line.split(' ')
    await admin.call('ACL', 'SETUSER', name, 'reset', ...rules)
  }
  const redisAs = (user: string): string =>
    server.url.replace('redis://', `redis://stepwell-${user}:change-me@`)

  const database = await createDatabase({ empty: true })
  const owner = new pg.Client({ connectionString: database.url })
  await owner.connect()
  const sql = read('postgres-roles.sql').replace(/:'(\w+)_password'/g, "'change-me'")
  await owner.query(sql)
  const postgresAs = (user: string): string => {
    const url = new URL(database.url)
    url.username = `stepwell_${user}`
    url.password = 'change-me'
    return url.href
  }
  try {
    const environment = { STEPWELL_SCHEMA: 'stepwell', STEPWELL_HEALTH_PORT: '0', STEPWELL_CHECKPOINT_S: '1' }
    {
      await using worker = spawnProcess(new URL('../apps/worker/src/main.ts', import.meta.url), [], {
        ...environment,
        REDIS_URL: redisAs('worker'),
        DATABASE_URL: postgresAs('worker'),
      })
      await using tracer = new ExecutionTracer({ redis: redisAs('producer') })
      await using query = new TraceQuery(postgresAs('reader'), { schema: 'stepwell' })
      await waitFor(() => worker.stdout().includes('worker reads'), {
        what: 'the worker reads',
        timeoutMs: 10_000,
      }).catch(({ message }: Error) => {
        throw new Error(`${message}: ${worker.stdout()}${worker.stderr()}`)
      })
      await tracer.trace('build', { executionId: 'e-1' }, (t) => t.step('work', () => {}))
      tracer.startTrace('open', { executionId: 'e-2' })
      expect(await tracer.flush()).toBe(true)
      await waitFor(async () => (await query.findTraces()).traces.length === 2, {
        what: 'both are stored',
        timeoutMs: 20_000,
      })
      const cli = async (...args: string[]): Promise<number | null> => {
        await using child = spawnProcess(new URL('../apps/cli/src/main.ts', import.meta.url), args, {
          STEPWELL_SCHEMA: 'stepwell',
          REDIS_URL: redisAs('reader'),
          DATABASE_URL: postgresAs('reader'),
        })
        const { code } = await child.exited
        if (code !== 0) console.log(args, child.stdout(), child.stderr())
        return code
      }
      for (const args of [
        ['traces'],
        ['trace', 'e-1'],
        ['skills'],
        ['running'],
        ['similar', 'x'],
        ['doctor'],
      ])
        expect(await cli(...args), args.join(' ')).toBe(0)

      // Nobody can do what is not theirs.
      const reader = new pg.Client({ connectionString: postgresAs('reader') })
      await reader.connect()
      for (const statement of [
        'delete from stepwell.execution_traces',
        'drop table stepwell.execution_traces',
        'create table stepwell.mine ()',
      ])
        await expect(reader.query(statement), statement).rejects.toMatchObject({
          code: expect.stringMatching(/^(42501|25006)$/),
        })
      await reader.end()
      for (const [user, ...commands] of [
        [
          'producer',
          ['flushall'],
          ['keys', '*'],
          ['xrange', 'stepwell:{0}:events', '-', '+'],
          ['xadd', 'mine', '*', 'a', 'b'],
          ['config', 'get', '*'],
        ],
        ['worker', ['flushall'], ['config', 'set', 'maxmemory', '1'], ['set', 'mine', '1'], ['acl', 'list']],
        [
          'reader',
          ['set', 'stepwell:x', '1'],
          ['xadd', 'stepwell:{0}:events', '*', 'a', 'b'],
          ['get', 'mine'],
          ['flushdb'],
        ],
      ] as [string, ...string[][]][]) {
        const client = new Redis(redisAs(user))
        for (const [command = '', ...args] of commands)
          await expect(client.call(command, ...args), `${user} ${command}`).rejects.toThrow(/NOPERM/)
        client.disconnect()
      }
      expect(worker.stdout()).not.toMatch(/NOPERM|permission denied|change-me/)
      expect((await worker.kill('SIGTERM')).code).toBe(0)
    }
  } finally {
    admin.disconnect()
    await server.stop()
    // Roles belong to the whole server, which other tests use.
    for (const role of roles.toReversed()) await owner.query(`drop owned by ${role} cascade`)
    await owner.query(`drop role ${roles.join(', ')}`)
    await owner.end()
    await database.drop()
  }
})
