import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'
import { TraceQuery } from '@stepwell/query'
import { openDatabase } from '@stepwell/storage'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { drillEnvironment } from '../config.ts'
import type { RedisLike } from '../connections.ts'
import { EXIT_DONE, EXIT_FAILED, Failure } from '../errors.ts'
import { counted, durationText } from '../format.ts'
import { auditTraces } from './audit.ts'

const STEPS = 5
const POLL_MS = 20
const START_TIMEOUT_MS = 30_000
const DONE_TIMEOUT_MS = 60_000
const OUTPUT_MAX_LENGTH = 10_000

/** Options of a drill. */
export interface DrillOptions {
  json?: boolean
  /** Runs that are recorded. */
  runs: number
  /** The program of a worker. */
  worker: string
}

/**
 * Records runs, kills a worker of its own in the middle of them (SIGKILL), lets a second one go on, and counts. On the Redis and the
 * Postgres of the environment, in a namespace and a schema of its own, which are removed afterwards.
 */
export async function drill(context: CommandContext, options: DrillOptions): Promise<number> {
  const { terminal, connections, env, stop } = context
  const startMs = performance.now()
  const mark = Math.random().toString(36).slice(2, 10)
  const namespace = `${env.STEPWELL_NAMESPACE.slice(0, 40)}:drill-${mark}`
  const schema = `stepwell_drill_${mark}`
  const redis = await connections.redis()
  const databaseUrl = connections.databaseUrl()
  const workers: DrillWorker[] = []
  const startWorker = async (): Promise<DrillWorker> => {
    const worker = new DrillWorker(
      options.worker,
      drillEnvironment({ namespace, schema, shards: env.STEPWELL_SHARDS }),
    )
    workers.push(worker)
    await worker.reads()
    return worker
  }
  const query = new TraceQuery(databaseUrl, { schema, maxConnections: 2 })
  const database = openDatabase({ connectionString: databaseUrl, max: 1 }, schema)
  const tracer = new ExecutionTracer({
    redis: env.REDIS_URL,
    namespace,
    shards: env.STEPWELL_SHARDS,
    report: ({ message }) => terminal.note(message),
  })
  try {
    terminal.note(`drill: ${counted(options.runs, 'run')}, in namespace ${namespace} and schema ${schema}`)
    const first = await startWorker()
    const recorded = record(tracer, options.runs)
    const storedAtKill = await until(
      async () => (await storedCount(query)) || undefined,
      'the first worker has stored something',
      stop,
    )
    first.kill('SIGKILL')
    terminal.note(`drill: killed a worker (SIGKILL) when ${counted(storedAtKill, 'run')} were stored`)
    await startWorker()
    const ids = await recorded
    const { sent, emitted } = await tracer.close({ timeoutMs: DONE_TIMEOUT_MS })
    if (sent < emitted) throw new Failure(`Redis took ${sent} of ${emitted} events only`)
    const place = { STEPWELL_NAMESPACE: namespace, STEPWELL_SHARDS: env.STEPWELL_SHARDS }
    const found = await until(
      async () => {
        const audit = await auditTraces(
          { terminal, connections: { ...connections, primaryQuery: () => query, database: () => database } },
          redis,
          place,
          ids,
        )
        const isOver =
          audit.open + audit.inFlight === 0 && audit.running === 0 && audit.withMissingSteps === 0
        return isOver ? audit : undefined
      },
      'all runs are stored',
      stop,
    )
    const rows = await storedCount(query)
    const isGood = found.lost.length === 0 && found.dead === 0 && rows === ids.size
    const seconds = durationText(performance.now() - startMs)
    if (options.json) {
      await writeJson(context, {
        ok: isGood,
        recorded: ids.size,
        stored_at_kill: storedAtKill,
        stored: found.stored,
        rows,
        dead: found.dead,
        lost: found.lost.length,
        duration_ms: Math.round(performance.now() - startMs),
      })
    } else {
      await writeLines(context, [
        `${counted(ids.size, 'run')} recorded, a worker killed when ${storedAtKill} were stored; in the end ${found.stored} stored whole, ${rows - found.stored} twice, ${found.dead} dead, ${found.lost.length} lost (${seconds})`,
        isGood ? terminal.paint('green', 'nothing is lost') : terminal.paint('red', 'the drill has failed'),
      ])
    }
    return isGood ? EXIT_DONE : EXIT_FAILED
  } finally {
    await tracer.close({ timeoutMs: 0 })
    await query.close()
    for (const worker of workers) await worker.end()
    await removeKeys(redis, namespace)
    await database.pool.query(`drop schema if exists ${schema} cascade`).catch(() => {})
    await database.close()
  }
}

/** Runs of some steps, a fifth of them long enough to travel in parts; resolves with their ids. */
async function record(tracer: ExecutionTracer, runs: number): Promise<Set<string>> {
  const ids = new Set<string>()
  const long: Promise<unknown>[] = []
  for (let i = 0; i < runs; i++) {
    const isLong = i % 5 === 0
    const run = tracer.trace('stepwell.drill', async (t) => {
      ids.add(t.context().traceId)
      for (let k = 0; k < STEPS; k++) {
        if (isLong && k === 2) await after(200)
        t.recordStep(`step-${k}`, k)
      }
    })
    if (isLong) long.push(run)
    // Slowly enough for a worker to be in the middle of it.
    if (i % 20 === 0) await after(POLL_MS)
  }
  await Promise.all(long)
  return ids
}

async function storedCount(query: TraceQuery): Promise<number> {
  const [skill] = await query.listSkills({ limit: 1 }).catch(() => [])
  return skill?.traceCount ?? 0
}

async function until<T>(ask: () => Promise<T | undefined>, what: string, stop: AbortSignal): Promise<T> {
  const endMs = performance.now() + DONE_TIMEOUT_MS
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (stop.aborted) throw new Failure('stopped')
    if (performance.now() > endMs)
      throw new Failure(
        `Waited ${DONE_TIMEOUT_MS / 1_000} s in vain until ${what}: stepwell doctor may say why`,
      )
    await after(POLL_MS)
  }
}

async function removeKeys(redis: RedisLike, namespace: string): Promise<void> {
  for (const server of 'nodes' in redis ? redis.nodes('master') : [redis]) {
    let cursor = '0'
    do {
      const [next, keys] = await server.scan(cursor, 'MATCH', `${namespace}:*`, 'COUNT', 1_000)
      for (const key of keys) await redis.unlink(key)
      cursor = next
    } while (cursor !== '0')
  }
}

/** A worker process of the drill. Starting → reading → ended, by us. */
class DrillWorker {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  #output = ''

  constructor(command: string, env: Record<string, string | undefined>) {
    const [program, args] = /\.[cm]?[jt]s$/.test(command) ? [process.execPath, [command]] : [command, []]
    this.#child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_MAX_LENGTH)
      })
    }
    this.#exited = Promise.race([once(this.#child, 'exit'), once(this.#child, 'error')]).catch(
      (error: Error) => {
        this.#output += `${error.message}\n`
      },
    )
  }

  async reads(): Promise<void> {
    const endMs = performance.now() + START_TIMEOUT_MS
    let hasEnded = false
    void this.#exited.then(() => {
      hasEnded = true
    })
    while (!this.#output.includes('worker reads')) {
      if (hasEnded || performance.now() > endMs) {
        const said = this.#output.trim().split('\n').slice(-3).join('\n')
        throw new Failure(
          `A worker could not be started: ${said}\n--worker <program> says where stepwell-worker is; its role needs the right to create a schema`,
        )
      }
      await after(POLL_MS)
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async end(): Promise<void> {
    this.kill('SIGTERM')
    const late = setTimeout(() => this.kill('SIGKILL'), START_TIMEOUT_MS)
    await this.#exited
    clearTimeout(late)
  }
}
