import {
  ByteWriter,
  encodeOverview,
  encodeTotal,
  HourRollup,
  type Rollup,
  type RunRollup,
  stepKeys,
} from '@stepwell/protocol/statistics'
import { sql, type Transaction } from 'kysely'
import type { FailureRollup } from './failure-rollups.ts'
import type { Tables } from './tables.ts'

/** Minutes that a rollup is of: a minute, an hour or a day. */
export type Width = 1 | 60 | 1_440

/** Of all skills together also weeks: seven days since 1970, which began on a Thursday. */
export const WEEK = 10_080

/** Something for each skill, by its name. */
export type BySkill<T> = Map<string, T>

/** The beginning of a minute since 1970. */
export const timeOf = (minute: number): Date => new Date(minute * 60_000)

/** Rows that one statement writes: 13 parameters each. */
const WRITE_MAX = 200
/** Rows that memory holds at once. */
const FETCH_MAX = 1_000

/** Gathers rollups and writes many at a time. */
export class RollupWriter {
  readonly #trx: Transaction<Tables>
  #rollups: object[] = []
  #overviews: object[] = []

  constructor(trx: Transaction<Tables>) {
    this.#trx = trx
  }

  /** Puts the rollups of a bucket, and its overview. */
  async putBucket(width: Width, bucket: number, skills: BySkill<Rollup | HourRollup>): Promise<void> {
    const runs: BySkill<RunRollup> = new Map()
    for (const [skill, rollup] of skills) {
      runs.set(skill, await this.putRollup(width, bucket, skill, rollup))
    }
    await this.putOverview(width, bucket, runs)
  }

  /** Puts the rollup of a skill, and gives that of its runs. */
  async putRollup(
    width: Width,
    bucket: number,
    skill: string,
    given: Rollup | HourRollup,
  ): Promise<RunRollup> {
    const rollup = given instanceof HourRollup ? given.whole() : given
    const { counts, sumUs, maxUs } = rollup.runs
    this.#rollups.push({
      skill_name: skill,
      width_s: width * 60,
      bucket: timeOf(bucket),
      ...counts,
      duration_sum_ms: sumUs / 1_000,
      duration_max_ms: maxUs / 1_000,
      durations: sketchOf(rollup.runs),
      steps: Buffer.from(rollup.encodeSteps()),
      step_keys: width === 1 ? null : stepKeys(rollup, width, bucket),
      // Minutes are most of the rows, and every column costs.
      ...(given instanceof HourRollup ? { parts: given.encodeParts() } : {}),
    })
    if (this.#rollups.length >= WRITE_MAX) await this.flush()
    return rollup.runs
  }

  /** Puts what all skills came to, of days and weeks with what failed; nothing where there are none. */
  async putOverview(
    width: Width | typeof WEEK,
    bucket: number,
    skills: BySkill<RunRollup>,
    failures: FailureRollup | null = null,
  ): Promise<void> {
    if (skills.size === 0) return
    this.#overviews.push({
      width_s: width * 60,
      bucket: timeOf(bucket),
      runs: encodeOverview(skills),
      // Of minutes it would cost more than it saves, weeks are not asked for by pieces.
      total: width === 60 || width === 1_440 ? encodeTotal(skills) : null,
      ...(failures ?? { failure_patterns: null, failure_counts: null, failures_last: null }),
      has_step_keys: width === 60 || width === 1_440 ? true : null,
    })
    if (this.#overviews.length >= WRITE_MAX) await this.flush()
  }

  /** Writes what is gathered. */
  async flush(): Promise<void> {
    const [rollups, overviews] = [this.#rollups, this.#overviews]
    this.#rollups = []
    this.#overviews = []
    if (rollups.length > 0)
      await this.#trx
        .insertInto('execution_rollups')
        .values(rollups as never)
        .execute()
    if (overviews.length > 0)
      await this.#trx
        .insertInto('execution_rollup_overviews')
        .values(overviews as never)
        .execute()
  }
}

function sketchOf({ sketch }: RunRollup): Buffer {
  const writer = new ByteWriter()
  sketch.encode(writer)
  return Buffer.from(writer.bytes())
}

/** Rows of a query by a cursor, as many at a time as memory is to hold. */
export async function* batchesOf<Row>(
  trx: Transaction<Tables>,
  query: { sql: string; parameters: readonly unknown[] },
): AsyncGenerator<Row[], void> {
  await trx.executeQuery({ ...query, sql: `declare rows no scroll cursor for ${query.sql}` } as never)
  for (;;) {
    const { rows } = await sql<Row>`fetch ${sql.lit(FETCH_MAX)} from rows`.execute(trx)
    yield rows
    if (rows.length < FETCH_MAX) break
  }
  await sql`close rows`.execute(trx)
}
