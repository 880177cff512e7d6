import { GROUP, replyFields, shardKeys } from '@stepwell/protocol'
import {
  type PrivateServer,
  type RedisOptions,
  type SpawnedProcess,
  spawnProcess,
  startRedis,
  waitFor,
} from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { ExpectedRun } from './load.ts'

/** A worker process under test. */
export interface FaultWorker extends SpawnedProcess {
  healthUrl: string
  /** What `/live` or `/ready` says. */
  health(path: '/live' | '/ready'): Promise<number>
  /** The value of a metric, with labels as Prometheus writes them: `stepwell_stream_lag{shard="0"}`. */
  metric(name: string): Promise<number>
}

/** What became of the runs, beside those that are stored once and whole. */
export interface Account {
  /** Neither stored nor among the dead letters. */
  missing: string[]
  /** Stored with something else than what ran. */
  wrong: string[]
  /** Stored, and nobody ran them. */
  unknown: string[]
  /** Reasons of dead letters. */
  dead: string[]
  /** Keys in Redis that should be gone. */
  leftKeys: string[]
  /** entries-added − (acked as stored + acked as dead + pending + unread), by the counts of Redis (design: equation b). */
  unaccountedEntries: number
  /** What workers wrote that they should not: crashes, unhandled rejections. */
  complaints: string[]
}

/** Every run stored once and whole, and nothing else. */
export const ALL_WELL: Account = {
  missing: [],
  wrong: [],
  unknown: [],
  dead: [],
  leftKeys: [],
  unaccountedEntries: 0,
  complaints: [],
}

/** What a fault test has: servers to do harm to, worker processes, and the account at its end. */
export interface FaultBench extends AsyncDisposable {
  server: PrivateServer
  /** Connects again by itself, however often the server goes. */
  redis: Redis
  databaseUrl: string
  pool: pg.Pool
  workers: FaultWorker[]
  /** Starts a worker process; resolves when it reads. */
  startWorker(env?: Record<string, string>): Promise<FaultWorker>
  /** Waits until every worker that runs says so. */
  allSay(path: '/live' | '/ready', status: number): Promise<void>
  rows<T = Record<string, unknown>>(query: string, values?: unknown[]): Promise<T[]>
  /** Waits until everything is worked off, and tells what became of the runs. Workers are ended in order (SIGTERM). */
  account(runs: ReadonlyMap<string, ExpectedRun>, options?: { timeoutMs?: number }): Promise<Account>
}

const STREAM = shardKeys('stepwell', 0)
/** What may stay: the stream within its live window, counts, BullMQ's keys, correlation keys. */
const MAY_STAY =
  /^(stepwell:\{0\}:(events|producers|counts|told)|stepwell:\{maintenance\}:.*|trace_context:.*)$/s

/** Sets a bench up, with a Redis of its own; `database`: the URL of a migrated Postgres database, else one of its own on the shared server. */
export async function openFaultBench(
  options: { redis?: RedisOptions; database?: string } = {},
): Promise<FaultBench> {
  const server = await startRedis(options.redis)
  const own = options.database === undefined ? await createDatabase() : undefined
  const databaseUrl = options.database ?? (own as { url: string }).url
  const redis = new Redis(server.url, { maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const pool = new pg.Pool({ connectionString: databaseUrl })
  pool.on('error', () => {})
  const workers: FaultWorker[] = []
  const running = new Set<FaultWorker>()
  const rows = async <T>(query: string, values?: unknown[]): Promise<T[]> =>
    (await pool.query(query, values)).rows
  return {
    server,
    redis,
    databaseUrl,
    pool,
    workers,
    rows,
    async startWorker(env = {}) {
      const worker = await spawnWorker({ REDIS_URL: server.url, DATABASE_URL: databaseUrl, ...env })
      workers.push(worker)
      running.add(worker)
      void worker.exited.then(() => running.delete(worker))
      return worker
    },
    async allSay(path, status) {
      for (const worker of running)
        await waitFor(async () => (await worker.health(path)) === status, {
          what: `a worker says ${status} at ${path}`,
        })
    },
    async account(runs, { timeoutMs = 60_000 } = {}) {
      await waitFor(async () => (await unfinished(redis)).length === 0, {
        what: 'the stream is worked off and nothing is open',
        timeoutMs,
        intervalMs: 100,
      }).catch(async (error: Error) => {
        const logs = workers.map((worker) => worker.stdout().slice(-2_000) + worker.stderr().slice(-1_000))
        throw new Error(`${error.message}: ${(await unfinished(redis)).join(', ')}\n${logs.join('\n---\n')}`)
      })
      for (const worker of workers) await worker.kill('SIGTERM')
      return {
        ...(await compare(rows, runs)),
        leftKeys: (await redis.keys('*')).filter((key) => !MAY_STAY.test(key)),
        unaccountedEntries: await unaccountedEntries(redis),
        complaints: (await Promise.all(workers.map(complaintsOf))).flat(),
      }
    },
    async [Symbol.asyncDispose]() {
      for (const worker of workers) await worker.kill('SIGKILL')
      redis.disconnect()
      await pool.end()
      await own?.drop()
      await server.stop()
    },
  }
}

async function spawnWorker(env: Record<string, string>): Promise<FaultWorker> {
  const child = spawnProcess(new URL('../../apps/worker/src/main.ts', import.meta.url), [], {
    STEPWELL_MIGRATE: 'off',
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_STALE_S: '2',
    STEPWELL_CHECKPOINT_S: '1',
    ...env,
  })
  const healthUrl = await waitFor(() => /"health":"([^"]+)"/.exec(child.stdout())?.[1], {
    what: 'the worker reads',
  }).catch((error: Error) => {
    throw new Error(`${error.message}\n${child.stdout()}${child.stderr()}`)
  })
  return {
    ...child,
    healthUrl,
    health: async (path) => (await fetch(healthUrl + path)).status,
    async metric(name) {
      const text = await (await fetch(`${healthUrl}/metrics`)).text()
      const line = text.split('\n').find((one) => one.startsWith(`${name} `))
      return Number(line?.slice(name.length + 1) ?? Number.NaN)
    },
  }
}

/** What is still to be done, in words. */
async function unfinished(redis: Redis): Promise<string[]> {
  const [groups, last, [pending], keys] = await Promise.all([
    redis.xinfo('GROUPS', STREAM.events) as Promise<unknown[]>,
    redis.xrevrange(STREAM.events, '+', '-', 'COUNT', 1),
    redis.xpending(STREAM.events, GROUP) as Promise<[number]>,
    redis.keys('stepwell:{0}:[do][up]e*'),
  ])
  const delivered = groups
    .map(replyFields)
    .find((group) => group.get('name') === GROUP)
    ?.get('last-delivered-id')
  return [
    ...(last[0] !== undefined && last[0][0] !== delivered ? ['unread entries'] : []),
    ...(Number(pending) > 0 ? [`${pending} pending entries`] : []),
    ...(keys.length > 0 ? [`${keys.length} keys of open traces`] : []),
  ]
}

async function compare(
  rows: FaultBench['rows'],
  runs: ReadonlyMap<string, ExpectedRun>,
): Promise<Pick<Account, 'missing' | 'wrong' | 'unknown' | 'dead'>> {
  const stored = new Map<string, string>()
  const wrong: string[] = []
  const unknown: string[] = []
  for (const row of await rows<Record<string, string | number | null>>(
    `select trace_id, status, step_count, missing_steps, error_message, json_array_length(steps) as steps from execution_traces`,
  )) {
    const id = String(row.trace_id)
    const run = runs.get(id)
    if (run === undefined) unknown.push(id)
    else if (stored.has(id)) wrong.push(`${id} is there twice`)
    else {
      const was = [row.status, row.step_count, row.steps, row.missing_steps, row.error_message].join(' ')
      const ran = [run.status, run.steps, run.steps, 0, run.errorMessage].join(' ')
      if (was !== ran) wrong.push(`${id}: ${was}, and not ${ran}`)
    }
    stored.set(id, String(row.status))
  }
  const letters = await rows<{ trace_id: string | null; reason: string }>(
    'select trace_id, reason from execution_dead_letters',
  )
  const dead = new Set(letters.map((letter) => letter.trace_id))
  return {
    missing: [...runs.keys()].filter((id) => !stored.has(id) && !dead.has(id)),
    wrong,
    unknown,
    dead: letters.map((letter) => letter.reason),
  }
}

async function unaccountedEntries(redis: Redis): Promise<number> {
  const [stream, groups, acked] = await Promise.all([
    redis.xinfo('STREAM', STREAM.events),
    redis.xinfo('GROUPS', STREAM.events) as Promise<unknown[]>,
    redis.hgetall(STREAM.counts),
  ])
  const group = groups.map(replyFields).find((one) => one.get('name') === GROUP)
  const accounted = [acked.stored ?? 0, acked.dead ?? 0, group?.get('pending'), group?.get('lag')]
  return (
    Number(replyFields(stream).get('entries-added')) -
    accounted.reduce<number>((sum, n) => sum + Number(n), 0)
  )
}

/** A worker that was not killed -9 ended in order, and none has crashed on the way. */
async function complaintsOf(worker: FaultWorker): Promise<string[]> {
  const { code, signal } = await worker.exited
  const complaints = worker.stderr().trim() === '' ? [] : [worker.stderr().slice(0, 500)]
  if (signal !== 'SIGKILL' && code !== 0)
    complaints.push(`a worker ended with ${code ?? signal}: ${worker.stdout().slice(-500)}`)
  return complaints
}
