import { OTHER_STEPS, Rollup, type StepRollup } from '@stepwell/protocol/statistics'
import type { Kysely } from 'kysely'
import { addUpSteps } from './read-rollups.ts'
import type { Span } from './rollup-cover.ts'
import { secondsOf, type TraceStatistics } from './skill-stats.ts'
import { type RunStatistics, type StatisticsWindow, statisticsOf } from './statistics.ts'
import type { Tables } from './tables.ts'
import { cutWindow, widestWithin } from './time-buckets.ts'

/** What the steps of one name came to. A run may have several of them. */
export interface StepNumbers extends RunStatistics {
  stepCount: number
  /** Runs that have such a step. */
  traceCount: number
  /** Milliseconds, those of all added up. */
  totalDurationMs: number
  /** Of the time that the runs took in all; steps in steps and side by side make it more than 1 together. Absent where no run has ended. */
  timeShare?: number
  /** Of the runs that failed or timed out, the share in which such a step failed, timed out or was left open. Absent where none did. */
  failureShare?: number
}

/** What the steps of one name came to, in all and piece by piece. */
export interface StepStatistics extends StepNumbers {
  stepName: string
  /** The pieces in which there were any, where `bucket` was given. `end` is the first time that is not in it. */
  buckets?: (StepNumbers & { start: Date; end: Date })[]
}

/** What the steps of a skill came to. */
export interface SkillStepStatistics extends StatisticsWindow {
  skillName: string
  /** The runs that the shares are of. */
  total: TraceStatistics
  /** Those that took the most time first. */
  steps: StepStatistics[]
  /** Whether there are more names of steps than `limit`, or than are told apart (1,000). */
  truncated: boolean
}

/** What is asked. */
export interface StepStatsRequest {
  skill: string
  window: Span
  bucketMs: number | undefined
  limit: number
  nowMs: number
}

/** Adds up the steps of a skill's runs. */
export async function stepStats(
  db: Kysely<Tables>,
  { skill, window, bucketMs, limit, nowMs }: StepStatsRequest,
): Promise<SkillStepStatistics> {
  const pieces = bucketMs === undefined ? undefined : cutWindow(window, bucketMs)
  const whole = new Rollup()
  const byPiece = pieces?.spans.map(() => new Rollup())
  const removed = await addUpSteps(db, { window, skill, widest: widestWithin(bucketMs) }, (startedMs) =>
    pieces === undefined ? whole : (byPiece?.[pieces.indexOf(startedMs)] as Rollup),
  )
  for (const piece of byPiece ?? []) whole.merge(piece)
  const sorted = [...whole.steps]
    .filter(([name]) => name !== OTHER_STEPS)
    .sort(([a, x], [b, y]) => y.runs.sumUs - x.runs.sumUs || (a < b ? -1 : 1))
  return {
    skillName: skill,
    since: new Date(window.fromMs),
    until: new Date(window.toMs - 1),
    ...(removed.length === 0 ? {} : { removed }),
    total: {
      traceCount: whole.runs.count,
      ...statisticsOf(whole.runs, secondsOf(window, nowMs)),
    },
    steps: sorted.slice(0, limit).map(([stepName, step]) => ({
      stepName,
      ...numbersOf(step, whole, secondsOf(window, nowMs)),
      ...(pieces === undefined
        ? {}
        : {
            buckets: pieces.spans.flatMap((span, i) => {
              const piece = byPiece?.[i] as Rollup
              const own = piece.steps.get(stepName)
              if (own === undefined) return []
              const numbers = numbersOf(own, piece, secondsOf(span, nowMs))
              return [{ start: new Date(span.fromMs), end: new Date(span.toMs), ...numbers }]
            }),
          }),
    })),
    truncated: sorted.length > limit || whole.steps.has(OTHER_STEPS),
  }
}

function numbersOf({ runs, traces, failedTraces }: StepRollup, of: Rollup, seconds: number): StepNumbers {
  const failed = of.runs.counts.failed + of.runs.counts.timeout
  return {
    stepCount: runs.count,
    traceCount: traces,
    ...statisticsOf(runs, seconds),
    totalDurationMs: runs.sumUs / 1_000,
    ...(of.runs.sumUs === 0 ? {} : { timeShare: runs.sumUs / of.runs.sumUs }),
    ...(failed === 0 ? {} : { failureShare: failedTraces / failed }),
  }
}
