import { addMonths, monthBounds, monthOf, partitionName } from '@stepwell/protocol'
import {
  type AppliedMonth,
  applyRetention,
  type Database,
  ensurePartitions,
  expireDeadLetters,
  expireFailures,
  isConflict,
  listPartitions,
  MONTHS_AHEAD,
  monthsAround,
  type RetentionPolicy,
  refreshRollups,
  regroupFailures,
} from '@stepwell/storage'
import { Queue, Worker } from 'bullmq'
import type { Logger } from 'pino'
import { forgetProducers } from './equations.ts'
import type { Reclaimer } from './reclaimer.ts'
import type { RedisLike } from './script.ts'
import type { Shard } from './shard.ts'
import type { Store } from './store.ts'
import { sweepLostTraces, sweepSilentProducers } from './sweep.ts'
import { withoutContents } from './trouble.ts'

/** What the jobs work with. */
export interface MaintenanceContext {
  redis: RedisLike
  database: Database
  store: Store
  shards: readonly Shard[]
  reclaimer: Reclaimer
  silenceMs: number
  retention: RetentionPolicy
  onRetention: (applied: Omit<AppliedMonth, 'month'>) => void
  /** Milliseconds that a dead letter is kept; 0: for ever. */
  deadLetterMaxAgeMs: number
  /** Aborts when the worker stops. */
  stop: AbortSignal
  log: Logger
}

/** The jobs: name, how often, and what they do. Each is idempotent: it may run twice, and late. */
const JOBS: Record<string, { everyMs: number; run: (context: MaintenanceContext) => Promise<void> }> = {
  timeouts: {
    everyMs: 5_000,
    run: async ({ redis, shards, silenceMs }) => {
      for (const shard of shards) await sweepSilentProducers(redis, shard, silenceMs)
    },
  },
  'lost-traces': {
    everyMs: 60_000,
    run: async ({ redis, database, store, shards, silenceMs, log }) => {
      const lost = await sweepLostTraces(redis, database, store, shards, { silenceMs, nowMs: Date.now() })
      if (lost > 0) log.warn({ lost }, 'running traces without open state: ended as timed out')
    },
  },
  partitions: {
    everyMs: 3_600_000,
    run: async ({ database, log }) => {
      const made = await ensurePartitions(database, monthsAround(Date.now()))
      if (made.length > 0) log.info({ made }, 'partitions made')
      const lastMs = addMonths(monthOf(Date.now()), MONTHS_AHEAD)
      const ahead = (await listPartitions(database)).some(
        (m) => monthBounds(m).fromMs === monthBounds(lastMs).fromMs,
      )
      if (!ahead)
        log.error(
          'partitions ahead are missing: traces of the coming months are stored only after one was made for them',
        )
    },
  },
  consumers: {
    everyMs: 600_000,
    run: async ({ redis, reclaimer, shards }) => {
      for (const shard of shards) {
        await reclaimer.forgetConsumers(shard, false)
        await forgetProducers(redis, shard)
      }
    },
  },
  rollups: {
    everyMs: 5_000,
    run: async ({ database, log }) => {
      const report = await refreshRollups(database, { nowMs: Date.now() }).catch((error: unknown) => {
        // Another worker was quicker.
        if (!isConflict(error)) throw error
      })
      if (report?.isBehind) log.debug(report, 'rollups are behind: what is missing is read from the traces')
    },
  },
  retention: {
    everyMs: 3_600_000,
    run: async ({ database, retention, onRetention, stop, log }) => {
      if (retention.keepMonths === 0 && retention.rules.length === 0) return
      await applyRetention(database, retention, {
        nowMs: Date.now(),
        stop,
        onMonth: ({ month, ...applied }) => {
          log.info({ partition: partitionName(month), ...applied }, 'retention has removed traces')
          onRetention(applied)
        },
      })
    },
  },
  'failures-forgotten': {
    everyMs: 6 * 3_600_000,
    run: async ({ database, log }) => {
      const gone = await expireFailures(database, Date.now())
      if (gone > 0) log.info({ gone }, 'signatures and patterns of failures forgotten: their months are gone')
    },
  },
  'failure-groups': {
    everyMs: 300_000,
    run: async ({ database, log }) => {
      const grouped = await regroupFailures(database)
      if (grouped !== undefined && grouped.moved > 0) log.info(grouped, 'failure groups joined')
    },
  },
  'dead-letters': {
    everyMs: 3_600_000,
    run: async ({ database, deadLetterMaxAgeMs, log }) => {
      if (deadLetterMaxAgeMs === 0) return
      const nowMs = Date.now()
      const expired = await expireDeadLetters(database, { beforeMs: nowMs - deadLetterMaxAgeMs, nowMs })
      if (expired > 0) log.info({ expired }, 'dead letters removed by age')
    },
  },
}

/** Two, so that a month which is rewritten for an hour holds up no timeouts. A job that runs twice at once does no harm. */
const CONCURRENCY = 2
/** A job this late is scheduled anew: what should have led to its next run was refused half-way. */
const LATE_MS = 10_000

/** Running maintenance. */
export interface Maintenance {
  /**
   * Schedules the jobs that are not scheduled, at the start and after Redis came back empty, and goes on after trouble. Called
   * every few seconds, by every worker. Rejects while Redis takes none.
   */
  schedule(): Promise<void>
  /** Ends after the job in work. Idempotent. */
  close(): Promise<void>
}

/**
 * Lets BullMQ schedule the jobs: each runs once per interval, in whichever worker takes it. Both connections stay the
 * caller's; `blocking` must be one of its own, with `maxRetriesPerRequest: null`. The data's way does not pass here. Nothing is
 * scheduled before `schedule`: a full Redis takes no jobs, and is no reason not to start. Working → (trouble) → resting →
 * (the next `schedule`) → working.
 */
export function startMaintenance(
  context: MaintenanceContext,
  options: { namespace: string; redis: RedisLike; blocking: RedisLike; onTrouble: (error: unknown) => void },
): Maintenance {
  const { onTrouble } = options
  // The hash tag keeps all keys of the queue in one slot of a cluster.
  const prefix = `${options.namespace}:{maintenance}`
  const queue = new Queue('maintenance', {
    connection: options.redis as never,
    prefix,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: 100, attempts: 1 },
  })
  const worker = new Worker(
    'maintenance',
    async (job) => {
      await JOBS[job.name]?.run(context)
    },
    {
      connection: options.blocking as never,
      prefix,
      concurrency: CONCURRENCY,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 100 },
    },
  )
  queue.on('error', onTrouble)
  worker.on('error', (error) => {
    onTrouble(error)
    // What Redis refuses BullMQ asks again at once: a thousand times a second while Redis is full.
    void worker.pause(true)
  })
  worker.on('failed', (job, error) =>
    context.log.warn(
      { err: withoutContents(error), job: job?.name },
      'maintenance job failed; the next run tries again',
    ),
  )
  let closing: Promise<unknown> | undefined
  return {
    async schedule() {
      // Only where one is missing: scheduling it anew puts off its next run.
      const nextMs = new Map((await queue.getJobSchedulers()).map(({ key, next }) => [key, next ?? 0]))
      for (const [name, { everyMs }] of Object.entries(JOBS))
        if ((nextMs.get(name) ?? 0) < Date.now() - LATE_MS)
          await queue.upsertJobScheduler(name, { every: everyMs }, { name })
      if (worker.isPaused()) await worker.resume()
    },
    async close() {
      closing ??= Promise.allSettled([worker.close(), queue.close()])
      await closing
    },
  }
}
