import type { RunRollup } from '@stepwell/protocol/statistics'
import type { RemovedRuns } from './removed-runs.ts'

/** How often something ran, what came of it and how long it took. Counts are exact; quantiles are within 1 % of the exact ones. */
export interface RunStatistics {
  successCount: number
  failedCount: number
  timeoutCount: number
  runningCount: number
  /** Of those that ended, the share that failed or timed out, 0 to 1. Absent where none has ended. */
  failureRate?: number
  /** How many started a second, on average over the time that is asked for and has passed. */
  perSecond: number
  /** Milliseconds, of those whose duration is known: half of them, 90, 95 and 99 of 100 took at most this long. Absent where there are none. */
  p50DurationMs?: number
  p90DurationMs?: number
  p95DurationMs?: number
  p99DurationMs?: number
  /** Milliseconds, exact to the microsecond. */
  maxDurationMs?: number
  meanDurationMs?: number
}

/** The time that statistics are of: both ends belong to it. */
export interface StatisticsWindow {
  since: Date
  until: Date
  /** Months of it from which retention has removed runs: what is told is of the runs that are left. Absent where there are none. */
  removed?: RemovedRuns[]
}

/** Statistics of what was counted in so many seconds. */
export function statisticsOf({ counts, sketch, sumUs, maxUs }: RunRollup, seconds: number): RunStatistics {
  const { running, success, failed, timeout } = counts
  const ended = success + failed + timeout
  const count = sketch.count
  const quantile = (share: number): number => {
    // No estimate is greater than the greatest. More digits would say nothing.
    const ms = Math.min(sketch.quantile(share) as number, maxUs / 1_000)
    return Number(ms.toPrecision(6))
  }
  return {
    successCount: success,
    failedCount: failed,
    timeoutCount: timeout,
    runningCount: running,
    ...(ended === 0 ? {} : { failureRate: (failed + timeout) / ended }),
    perSecond: seconds > 0 ? (ended + running) / seconds : 0,
    ...(count === 0
      ? {}
      : {
          p50DurationMs: quantile(0.5),
          p90DurationMs: quantile(0.9),
          p95DurationMs: quantile(0.95),
          p99DurationMs: quantile(0.99),
          maxDurationMs: maxUs / 1_000,
          meanDurationMs: Math.round(sumUs / count) / 1_000,
        }),
  }
}
