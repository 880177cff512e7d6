import { readFileSync } from 'node:fs'
import { ExecutionTracer } from '@stepwell/client'
import { TraceQuery } from '@stepwell/query'
import { spawnProcess, startPostgres, startRedis, waitFor } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'
import { type Document, runCli } from './cli-bench.ts'

// The roles of docs/security, as they stand there: everything works with them, and nothing more.

const read = (file: string): string =>
  readFileSync(new URL(`../docs/security/${file}`, import.meta.url), 'utf8')

test('producer, worker and reader do their work with the rights of docs/security, and cannot do more', async () => {
  await using server = await startRedis({ appendonly: false })
  const admin = new Redis(server.url)
  for (const line of read('redis-users.acl').trim().split('\n')) {
    const [, name = '', ...rules] = line.split(' ')
    await admin.call('ACL', 'SETUSER', name, 'reset', ...rules)
  }
  const redisAs = (user: string): string =>
    server.url.replace('redis://', `redis://stepwell-${user}:change-me@`)

  // Roles belong to a whole server.
  await using database = await startPostgres()
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
    const environment = {
      STEPWELL_SCHEMA: 'stepwell',
      STEPWELL_HEALTH_PORT: '0',
      STEPWELL_CHECKPOINT_S: '1',
      STEPWELL_DEAD_LETTERS_MAX: '1',
    }
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
      }).catch(({ message }: Error) => {
        throw new Error(`${message}: ${worker.stdout()}${worker.stderr()}`)
      })
      await tracer.trace('build', { executionId: 'e-1' }, (t) => t.step('work', () => {}))
      tracer.startTrace('open', { executionId: 'e-2' })
      expect(await tracer.flush()).toBe(true)
      await waitFor(async () => (await query.findTraces()).traces.length === 2, {
        what: 'both are stored',
      })
      // Something for the dead letters, and too much of it.
      await admin.xadd('stepwell:{0}:events', '*', 'v', '9')
      await admin.xadd('stepwell:{0}:events', '*', 'v', '8')
      await waitFor(
        async () => (await owner.query('select from stepwell.execution_dead_letters_not_kept')).rowCount,
        {
          what: 'a letter, and one that is not kept',
        },
      )
      const cli = async (user: string, args: string[], input = ''): Promise<void> => {
        const end = await runCli(
          args,
          {
            STEPWELL_SCHEMA: 'stepwell',
            REDIS_URL: redisAs(user),
            DATABASE_URL: postgresAs(user === 'producer' ? 'reader' : user),
          },
          { input },
        )
        expect({ args, ...end }).toMatchObject({ code: args.includes('replay') ? 3 : 0 })
      }
      // It fails by what it finds, not by what it may not do.
      const doctor = runCli(['doctor', '--json'], {
        STEPWELL_SCHEMA: 'stepwell',
        REDIS_URL: redisAs('reader'),
        DATABASE_URL: postgresAs('reader'),
        DATABASE_REPLICA_URL: postgresAs('reader'),
      })
      const reads = [
        ['traces'],
        ['trace', 'e-1'],
        ['skills'],
        ['stats'],
        ['steps', 'build'],
        ['running'],
        ['stuck'],
        ['similar', 'x'],
        ['explain'],
        ['export'],
        ['doctor', '--audit'],
        ['dead', 'list'],
        ['retention', 'plan', '--keep', 'success=2d'],
      ]
      await Promise.all(reads.map((args) => cli('reader', args)))
      await cli('producer', ['run', '--', 'true'])
      const line = `{"skill_name":"imported","started_at":"${new Date().toISOString()}","status":"success","steps":[]}`
      await cli('worker', ['import', '-'], `${line}\n${line.replace(/"20\d\d/, '"2020')}`)
      for (const args of [
        ['migrate'],
        ['rebuild-stats'],
        ['dead', 'replay'],
        ['dead', 'drop', '--all'],
        ['delete', '--execution', 'e-1'],
        ['retention', 'apply', '--keep', 'success=2d'],
        ['doctor'],
      ])
        await cli('worker', args)
      const failed = JSON.parse((await doctor).stdout).checks.filter(
        (check: Document) => check.status === 'fail',
      )
      expect(failed.map((check: Document) => [check.name, check.found])).toEqual([
        ['dead letters', '1; 1 not kept for want of room'],
        ['replica', 'no replica'],
      ])
      // Redis notes whatever it has refused, also what the asking program made light of.
      expect(await admin.call('ACL', 'LOG')).toEqual([])

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
    {
      // Back-pressure: a producer that may not ask how far the workers are behind takes it that they are not.
      await using tracer = new ExecutionTracer({
        redis: redisAs('producer'),
        backlogMaxBytes: 1 << 20,
        closeTimeoutMs: 0,
        report: () => {},
      })
      const metadata = { text: 'x'.repeat(8_192) }
      await waitFor(
        () => {
          for (let i = 0; i < 10; i++) tracer.trace('unread', { metadata }, () => {})
          return tracer.counters().buffered > 1_000
        },
        { what: 'it holds back what no worker reads' },
      )
    }
  } finally {
    admin.disconnect()
    await owner.end()
  }
})
