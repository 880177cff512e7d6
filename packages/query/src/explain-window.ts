import type { Kysely } from 'kysely'
import type * as z from 'zod'
import { explainFailures, type FailureExplanation } from './explain-failures.ts'
import type { explainSchema } from './input.ts'
import { type RunSample, sampleRuns } from './sample-runs.ts'
import type { Tables } from './tables.ts'

/** How much of a window was looked at. */
export interface RunsLookedAt {
  since: Date
  until: Date
  /** Runs that were looked at: all, or a sample evenly over the window. */
  looked: number
  /** How many there are. */
  of: number
  /** There are more than that: counting ended there. */
  ofTruncated: boolean
}

/** What sets the failing runs of a window apart from good ones. */
export interface FailureReport extends FailureExplanation {
  /** Runs that failed or timed out. */
  failing: RunsLookedAt
  /** Runs that went well, of the same window or of the baseline. */
  good: RunsLookedAt
  /** There are more findings, less significant ones. */
  findingsTruncated: boolean
}

/** Samples the failing runs of the window and the good ones of the baseline, from one snapshot, and says what sets them apart. */
export async function explainWindow(
  db: Kysely<Tables>,
  table: string,
  { skill, since, until, baseline, sample, rate, limit }: z.output<typeof explainSchema>,
): Promise<FailureReport> {
  const window = { since, until }
  const [failing, good] = await db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => [
      await sampleRuns(trx, { table, skill, ...window, ended: 'badly', size: sample }),
      await sampleRuns(trx, { table, skill, ...baseline, ended: 'well', size: sample }),
    ])
  const { findings, ...rest } = explainFailures(failing?.runs ?? [], good?.runs ?? [], rate)
  return {
    ...rest,
    findings: findings.slice(0, limit),
    findingsTruncated: findings.length > limit,
    failing: lookedAt(failing as RunSample, window),
    good: lookedAt(good as RunSample, baseline),
  }
}

const lookedAt = (
  { runs, of, ofTruncated }: RunSample,
  window: { since: Date; until: Date },
): RunsLookedAt => ({
  ...window,
  looked: runs.length,
  of,
  ofTruncated,
})
