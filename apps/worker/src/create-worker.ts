import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import {
  type DatabaseConfig,
  DEAD_LETTER_BOUNDS,
  type DeadLetterBounds,
  migrateToLatest,
  openDatabase,
  type RetentionRule,
  sortRules,
  TraceWriter,
} from '@stepwell/storage'
import { type Logger, pino } from 'pino'
import { Acker } from './acker.ts'
import { BoundedConnection } from './bounded-connection.ts'
import { Collector } from './collector.ts'
import { openConnections, type RedisConfig, refuseUnusable } from './connections.ts'
import { Correlation } from './correlation.ts'
import { readEquations } from './equations.ts'
import { Finalizer } from './finalizer.ts'
import { ensureGroup, isAlone } from './group.ts'
import { type HealthServer, startHealthServer } from './health-server.ts'
import { Intake } from './intake.ts'
import { LetterBox, lettersOf, lettersOfForeign } from './letter-box.ts'
import { type Maintenance, startMaintenance } from './maintenance.ts'
import { isShortOfMemory } from './memory.ts'
import { createMetrics, setDeadLetters, setEquations } from './metrics.ts'
import { delay, OutageGate } from './outage.ts'
import { Progress, STUCK_AFTER_MS, soon } from './progress.ts'
import { Reader } from './reader.ts'
import { RECLAIM_INTERVAL_MS, Reclaimer } from './reclaimer.ts'
import { isFull, makeShards, type Shard } from './shard.ts'
import { Store } from './store.ts'
import { trim } from './trimmer.ts'
import { troubleReporter, withoutContents } from './trouble.ts'

/** How a worker is set up. Only `redis` and `database` are needed. */
export interface WorkerOptions {
  /** URL, ioredis options, or a connection or cluster to copy; the copy is the worker's own. */
  redis: RedisConfig
  /** Connection string, `pg` options, or a Pool, which stays the caller's. */
  database: DatabaseConfig
  /** Prefix of all Redis keys. Default: `stepwell`. */
  namespace?: string
  /** Postgres schema of the tables. Default: the search path. */
  schema?: string
  /** Number of streams; the same for producers and workers. Default: 1. */
  shards?: number
  /** Bring the database up to date first. Default: true. */
  migrate?: boolean
  /** Keep correlation keys an hour from their last use, or only while the trace is open. Default: `hour`. */
  correlation?: 'hour' | 'open'
  /** Whole months to keep, whatever `retentionRules` say; 0 (the default) keeps all. */
  retentionMonths?: number
  /** How long finished traces are kept, by status and skill. Default: none is removed. Needs a pool of two connections at least. */
  retentionRules?: readonly RetentionRule[]
  /** How much dead letters may take: new ones beyond it are counted only. Default: 100,000 letters with 1 GiB of payload. */
  deadLetterBounds?: DeadLetterBounds
  /** Milliseconds after which dead letters are removed; 0: never. Default: 90 days. */
  deadLetterMaxAgeMs?: number
  /** Milliseconds without a sign of life until a producer counts as dead. Default: 60,000. */
  silenceMs?: number
  /** Milliseconds until an open trace is first stored as running. Default: 10,000. */
  checkpointMs?: number
  /**
   * Milliseconds that Postgres gets for a write, unless role or database say otherwise; five seconds later, where it stands still and says
   * nothing, its connections are given up. Not for a lent pool, nor for maintenance. Default: 10,000.
   */
  databaseTimeoutMs?: number
  /** Steps that a trace keeps. Default: 10,000. */
  maxSteps?: number
  /** Milliseconds after which what a worker has taken counts as left behind: an entry, a lease. Default: 30,000. */
  staleMs?: number
  /** Where /live, /ready and /metrics listen; default: nowhere. With `orAnyPort` a taken port is no error. */
  health?: { host: string; port: number; orAnyPort?: boolean }
  /** Milliseconds that `close` may take. Default: 20,000. */
  shutdownMs?: number
  /** Default: warnings and worse, as JSON on stdout. */
  log?: Logger
}

/** A running worker. */
export interface StepwellWorker extends AsyncDisposable {
  /** Its name in the consumer group. */
  readonly consumer: string
  /** Base URL of the health endpoints, if there are any. */
  readonly healthUrl: string | undefined
  /** Stops reading, commits and acks what is in hand, closes. Idempotent; resolves within `shutdownMs` and a second. Loses nothing. */
  close(): Promise<void>
}

/**
 * Starts a worker: it reads the streams, keeps the open state and stores traces, until `close`. Any number can run at once,
 * in any number of processes, without knowing of each other. Resolves when it reads; rejects where the database cannot
 * be reached or migrated (`pg` errors, SchemaTooNewError) or an option is unusable (InvalidInputError).
 */
export async function createWorker(options: WorkerOptions): Promise<StepwellWorker> {
  const log = options.log ?? pino({ level: 'warn' })
  const { redis, database: databaseConfig, namespace = 'stepwell', schema } = options
  const { silenceMs = 60_000, checkpointMs = 10_000, shutdownMs = 20_000, staleMs = 30_000 } = options
  const retentionRules = sortRules(options.retentionRules ?? [])
  if (options.migrate ?? true) {
    await migrateToLatest({ connectionString: databaseConfig, ...(schema === undefined ? {} : { schema }) })
  }
  const { databaseTimeoutMs: statementMs = STATEMENT_MS } = options
  const database = openDatabase(databaseConfig, schema, { ...PATIENCE, statementMs })
  // What a month takes that is written anew, or rolled up, is no sign of a server that stands still.
  const forJobs = openDatabase(databaseConfig, schema, PATIENCE)
  const metrics = createMetrics()
  const stopping = new AbortController()
  const stop = stopping.signal
  const onTrouble = troubleReporter(log, metrics.troubles)
  const connections = openConnections(redis, onTrouble)
  const { main } = connections
  const shards = makeShards(namespace, options.shards ?? 1)
  const consumer = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`

  const gate = new OutageGate((change, error) => {
    metrics.databaseAvailable.set(change === 'opened' ? 1 : 0)
    if (change === 'closed')
      log.error({ err: withoutContents(error) }, 'Postgres takes no rows: reading pauses, nothing is lost')
    else log.info('Postgres takes rows again')
  })
  const writer = new TraceWriter(
    database,
    options.maxSteps === undefined ? {} : { maxSteps: options.maxSteps },
  )
  const store = new Store(writer, gate, stop, onTrouble)
  const progress = new Progress(main, shards, metrics, Date.now())
  const acker = new Acker(main, stop, (stored, dead) => {
    metrics.entriesAcked.inc({ outcome: 'stored' }, stored)
    metrics.entriesAcked.inc({ outcome: 'dead' }, dead)
    progress.made(Date.now())
  })
  const letterBox = new LetterBox({
    store,
    database,
    bounds: options.deadLetterBounds ?? DEAD_LETTER_BOUNDS,
    onKept: (letters) => metrics.lettersWritten.inc(letters),
    onChange: (change) => {
      if (change === 'full') log.error('no room for more dead letters: what comes now is only counted')
      else log.info('there is room for dead letters again')
    },
  })
  const collector = new Collector({
    store,
    letterBox,
    acker,
    stop,
    onWritten: (traces) => metrics.tracesStored.inc({ path: 'whole' }, traces),
  })
  const correlation = new Correlation(main, namespace, options.correlation ?? 'hour')
  const finalizers = shards.map(
    (shard) =>
      new Finalizer({
        shard,
        redis: main,
        store,
        correlation,
        stop,
        checkpointMs,
        silenceMs,
        leaseMs: staleMs,
        onStored: (traces) => metrics.tracesStored.inc({ path: 'open' }, traces),
        onRefused: (trace, error) => letterBox.put(lettersOf(trace, error)),
        onForeign: (shard, fields) => letterBox.put(lettersOfForeign(shard, fields)),
        onTrouble,
      }),
  )
  const intake = new Intake({
    redis: main,
    collector,
    acker,
    correlation,
    checkpointMs,
    stop,
    onEnded: (shard) => finalizers[shard.index]?.poke(),
    onEntries: (entries) => metrics.entriesRead.inc(entries),
    onDeltas: (deltas) => metrics.deltasRead.inc(deltas),
    onTrouble,
  })
  const reclaimer = new Reclaimer({
    redis: main,
    connection: new BoundedConnection(connections.extra()),
    consumer,
    intake,
    collector,
    staleMs,
    onReclaimed: (entries) => metrics.entriesReclaimed.inc(entries),
  })

  let health: HealthServer | undefined
  let maintenance: Maintenance | undefined
  let loops: Promise<unknown> | undefined
  try {
    log.debug({ consumer }, 'worker waits for Redis')
    await refuseUnusable(main)
    for (const shard of shards) {
      await ensureGroup(main, shard)
      await reclaimer.refresh(shard)
    }
    const context = { redis: main, database: forJobs, store, shards, reclaimer, silenceMs, log }
    const running = startMaintenance(
      {
        ...context,
        retention: { keepMonths: options.retentionMonths ?? 0, rules: retentionRules },
        onRetention: ({ action, removed, bytesFreed }) => {
          metrics.retentionTraces.inc({ action }, removed)
          metrics.retentionBytes.inc({ action }, Math.max(0, bytesFreed))
        },
        stop,
        deadLetterMaxAgeMs: options.deadLetterMaxAgeMs ?? 90 * DAY_MS,
      },
      { namespace, redis: main, blocking: connections.extra(), onTrouble },
    )
    maintenance = running
    if (options.health !== undefined) {
      health = await startHealthServer({
        ...options.health,
        registry: metrics.registry,
        refresh: async () => {
          // While Redis or Postgres is away the metrics say what was so before.
          await Promise.all([
            soon(readEquations(main, shards)).then((read) => setEquations(metrics, read), onTrouble),
            soon(letterBox.counts(), 'Postgres').then((read) => setDeadLetters(metrics, read), onTrouble),
          ])
        },
        live: () => {
          const nowMs = Date.now()
          // While Postgres is away, trying is all that there is to get on with.
          const stalledMs = Math.min(progress.stalledMs(nowMs), nowMs - gate.triedMs)
          return {
            ok: stalledMs < STUCK_AFTER_MS,
            stalledMs,
            inHand: shards.reduce((sum, shard) => sum + shard.inHand.size, 0),
          }
        },
        ready: async () => {
          await progress.look(Date.now())
          const problem = stop.aborted
            ? 'stopping'
            : (progress.redisError ?? (gate.isOpen ? undefined : String(gate.lastError)))
          if (problem !== undefined) return { ok: false, problem }
          return shards.some((shard) => isFull(shard, Date.now()))
            ? { ok: true, redisFull: true }
            : { ok: true }
        },
      })
    }
    const every = (ms: number, work: () => Promise<unknown>): Promise<void> =>
      repeat(ms, work, stop, onTrouble)
    loops = Promise.all([
      ...shards.map((shard) =>
        new Reader({
          shard,
          connection: new BoundedConnection(connections.extra()),
          consumer,
          intake,
          collector,
          gate,
          stop,
          onTrouble,
        }).run(),
      ),
      ...finalizers.map((finalizer) => finalizer.run()),
      every(Math.min(RECLAIM_INTERVAL_MS, staleMs / 3), () =>
        eachShard(shards, async (shard) => {
          await reclaimer.refresh(shard)
          if (gate.isOpen) await reclaimer.reclaim(shard, stop)
        }),
      ),
      every(5_000, () => running.schedule()),
      every(1_000, () => progress.look(Date.now())),
      every(1_000, () =>
        eachShard(shards, async (shard) => {
          shard.gathering.noteAlone(await isAlone(main, shard, consumer))
        }),
      ),
      every(intake.gatherMs / 10, () => eachShard(shards, (shard) => intake.release(shard))),
      every(1_000, async () => {
        if (!(await isShortOfMemory(main))) return
        for (const shard of shards) shard.fullAtMs = Date.now()
      }),
      every(2_000, () => eachShard(shards, (shard) => trim(main, shard, Date.now()))),
    ])
  } catch (error) {
    stopping.abort()
    await maintenance?.close()
    await health?.close()
    connections.disconnect()
    await Promise.all([database.close(), forJobs.close()])
    throw error
  }
  log.info({ consumer, health: health?.url, shards: shards.length }, 'worker reads')

  const shutDown = async (): Promise<void> => {
    stopping.abort()
    const orderly = async (): Promise<void> => {
      await loops
      await collector.flush()
      await acker.idle()
      await maintenance?.close()
      await eachShard(shards, (shard) => reclaimer.forgetConsumers(shard, true))
    }
    const late = await Promise.race([orderly().catch(onTrouble), delayed(shutdownMs)])
    if (late === LATE)
      log.warn('shutdown took too long: what is in hand stays pending and is delivered again')
    connections.disconnect()
    // A statement that does not end would hold up its connection's end.
    await Promise.race([
      Promise.all([health?.close(), database.close(), forJobs.close()]),
      delayed(CLOSING_MS),
    ])
    log.info({ consumer }, 'worker stopped')
  }
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= shutDown()
    return closing
  }
  return { consumer, healthUrl: health?.url, close, [Symbol.asyncDispose]: close }
}

const DAY_MS = 86_400_000
/** A Postgres that does not answer shows, and a row that somebody keeps to himself keeps the worker from no other. */
const PATIENCE = { connectMs: 10_000, lockMs: 5_000 }
// With a look whether Postgres takes rows at all, sooner than a worker that finishes nothing counts as stuck.
const STATEMENT_MS = 10_000

const LATE = Symbol('late')
/** Milliseconds that connections get for their goodbyes, after `shutdownMs`. */
const CLOSING_MS = 1_000

const delayed = (ms: number): Promise<typeof LATE> =>
  new Promise((resolve) => setTimeout(() => resolve(LATE), ms).unref())

async function eachShard(shards: readonly Shard[], work: (shard: Shard) => Promise<unknown>): Promise<void> {
  for (const shard of shards) await work(shard)
}

async function repeat(
  ms: number,
  work: () => Promise<unknown>,
  stop: AbortSignal,
  onTrouble: (error: unknown) => void,
): Promise<void> {
  while (!stop.aborted) {
    await work().catch((error: unknown) => {
      if (!stop.aborted) onTrouble(error)
    })
    await delay(ms, stop)
  }
}
