import { RunRollup } from '@stepwell/protocol/statistics'
import type { Kysely } from 'kysely'
import { addUpRuns } from './read-rollups.ts'
import type { Span } from './rollup-cover.ts'
import { type RunStatistics, type StatisticsWindow, statisticsOf } from './statistics.ts'
import type { Tables } from './tables.ts'
import { cutWindow, widestWithin } from './time-buckets.ts'

/** What runs came to. */
export interface TraceStatistics extends RunStatistics {
  traceCount: number
}

/** What the runs came to that started in a piece of the window. */
export interface TraceBucket extends TraceStatistics {
  start: Date
  /** The first time that is not in it. */
  end: Date
}

/** What the runs of a window came to. */
export interface SkillStatistics extends StatisticsWindow {
  /** All runs of the window, those included whose beginning has not come yet. */
  total: TraceStatistics
  /** Skill by skill, those with the most runs first. */
  skills: (TraceStatistics & { skillName: string })[]
  /** Whether there are more skills than `limit`. */
  truncated: boolean
  /** Piece by piece, with the empty ones, where `bucket` was given. */
  buckets?: TraceBucket[]
}

/** What is asked. */
export interface SkillStatsRequest {
  skill: string | undefined
  window: Span
  /** Milliseconds of a piece. */
  bucketMs: number | undefined
  limit: number
  nowMs: number
}

/** Adds up the runs of a window, in all, by skill and piece by piece. */
export async function skillStats(
  db: Kysely<Tables>,
  { skill, window, bucketMs, limit, nowMs }: SkillStatsRequest,
): Promise<SkillStatistics> {
  const pieces = bucketMs === undefined ? undefined : cutWindow(window, bucketMs)
  const byPiece = pieces?.spans.map(() => new RunRollup())
  const pieceOf = (ms: number): RunRollup => byPiece?.[pieces?.indexOf(ms) as number] as RunRollup
  const bySkill = new Map<string, RunRollup>()
  const ofSkill = (name: string): RunRollup => {
    let rollup = bySkill.get(name)
    if (rollup === undefined) {
      rollup = new RunRollup()
      bySkill.set(name, rollup)
    }
    return rollup
  }
  const removed = await addUpRuns(
    db,
    { window, skill, widest: widestWithin(bucketMs) },
    ofSkill,
    pieces && pieceOf,
  )
  const total = new RunRollup()
  for (const rollup of byPiece ?? bySkill.values()) total.merge(rollup)
  const named = [...bySkill].filter(([name]) => name !== '')
  const sorted = named
    .map(([skillName, rollup]) => ({ skillName, rollup, count: rollup.count }))
    .sort((a, b) => b.count - a.count || (a.skillName < b.skillName ? -1 : 1))
  const of = (runs: RunRollup, span: Span): TraceStatistics => ({
    traceCount: runs.count,
    ...statisticsOf(runs, secondsOf(span, nowMs)),
  })
  return {
    since: new Date(window.fromMs),
    until: new Date(window.toMs - 1),
    ...(removed.length === 0 ? {} : { removed }),
    total: of(total, window),
    skills: sorted.slice(0, limit).map(({ skillName, rollup }) => ({ skillName, ...of(rollup, window) })),
    truncated: sorted.length > limit,
    ...(pieces === undefined
      ? {}
      : {
          buckets: pieces.spans.map((span, i) => ({
            start: new Date(span.fromMs),
            end: new Date(span.toMs),
            ...of(byPiece?.[i] as RunRollup, span),
          })),
        }),
  }
}

/** Seconds of it that have passed. */
export const secondsOf = ({ fromMs, toMs }: Span, nowMs: number): number =>
  Math.max(0, Math.min(toMs, nowMs) - fromMs) / 1_000
