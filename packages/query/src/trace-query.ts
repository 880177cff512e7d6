import { type Trace, type TraceStatus, type TraceSummary, traceIdStart } from '@stepwell/protocol'
import { type DatabaseConfig, openForReading, type QueryOptions, type ReadDatabase } from './database.ts'
import { explainWindow, type FailureReport } from './explain-window.ts'
import { type FailureGroup, readGroup } from './failure-group.ts'
import { type FailureGroupPage, listGroups } from './failure-groups.ts'
import { findPage } from './find-traces.ts'
import { FoundTraces } from './found-traces.ts'
import {
  bySkillSchema,
  explainSchema,
  failureGroupId,
  failureGroupSchema,
  failureGroupsSchema,
  findSchema,
  nameSchema,
  parseInput,
  plainText,
  runningSchema,
  similarSchema,
  skillStatsSchema,
  skillsSchema,
  stepStatsSchema,
  stuckSchema,
  traceId,
  traceIds,
} from './input.ts'
import { listSkills, type SkillSummary } from './list-skills.ts'
import { readExecution, readTrace } from './read-trace.ts'
import { type RunningList, runningTraces } from './running-traces.ts'
import { findSimilar, type SimilarFailure, type SimilarTables } from './similar-failures.ts'
import { WordStatistics } from './similar-signatures.ts'
import { type SkillStatistics, skillStats } from './skill-stats.ts'
import { type SkillStepStatistics, stepStats } from './step-stats.ts'
import { type StuckList, stuckTraces } from './stuck-traces.ts'
import { SUMMARY_COLUMNS, summaryOf } from './tables.ts'
import type { Search } from './trace-list.ts'
import { type WholeTrace, wholeTraces } from './whole-traces.ts'

/** A time: a Date, an ISO 8601 text (a day at least; UTC without an offset), or milliseconds since 1970. */
export type Time = Date | string | number

/** What `findTraces` filters by; all that are given must match. */
export interface TraceFilters {
  /** Exact name of the skill. */
  skill?: string
  /** One status, or several of which any matches. */
  status?: TraceStatus | TraceStatus[]
  /** Started at this time or later. */
  since?: Time
  /** Started at this time or earlier. */
  until?: Time
  /** Total duration, milliseconds, inclusive. A running trace has none. */
  minDurationMs?: number
  maxDurationMs?: number
  /** What the metadata must contain, nested where needed: `{ env: 'prod' }`, `{ git: { branch: 'main' } }`. */
  metadata?: Record<string, unknown>
  /** Exact name of a step that the trace must have. */
  stepName?: string
  /** Exact name of the step that the trace failed or timed out in. */
  failedStep?: string
  /**
   * Words that the error message of a failed trace must have, all of them, in any order: what white space separates, in any case, as in
   * `findSimilarFailures`. `refused` finds `connect refused`, not `(refused)`.
   */
  errorText?: string
  executionId?: string
  parentTraceId?: string
  rootTraceId?: string
  /** Traces a page, 1 to 1,000. Default: 100. */
  limit?: number
  /** `nextCursor` or `previousCursor` of a page with the same filters. */
  cursor?: string
}

/** Which time statistics are of, and how it is cut. */
export interface StatsOptions {
  since?: Time
  until?: Time
  bucket?: 'minute' | 'hour' | 'day' | 'week' | number
  limit?: number
}

/**
 * Asks Postgres for traces. The database is a connection string, `{ host, port, database, user, … }` or a `pg` Pool, which stays
 * the caller's. Input is validated: InvalidInputError says which argument is wrong and what it should be. Database errors
 * surface as `pg` gives them. Lists hold summaries, without steps, and are bounded.
 */
export class TraceQuery implements AsyncDisposable {
  readonly #database: ReadDatabase
  /** With its schema. */
  readonly #table: string
  readonly #named: (table: string) => string
  readonly #searched: Pick<Search, 'table' | 'signatures'>
  readonly #similar: SimilarTables

  constructor(database: DatabaseConfig, options: QueryOptions = {}) {
    this.#database = openForReading(database, options)
    this.#named = (table) => (options.schema === undefined ? table : `${options.schema}.${table}`)
    this.#table = this.#named('execution_traces')
    this.#searched = { table: this.#table, signatures: this.#named('failure_signatures') }
    this.#similar = { named: this.#named, words: new WordStatistics(this.#named('failure_signatures')) }
  }

  /**
   * Runs of a skill, newest first, that started from `startDate` (default: 30 days ago, or before an `endDate` in the past) to `endDate`
   * (default: now), both inclusive; at most `limit` (default: 100). Also as `queryBySkill(name, startDate, endDate, limit)`. Reads an index.
   */
  queryBySkill(
    skillName: string,
    options?: { startDate?: Time; endDate?: Time; limit?: number },
  ): Promise<TraceSummary[]>
  queryBySkill(
    skillName: string,
    startDate?: Time | null,
    endDate?: Time | null,
    limit?: number,
  ): Promise<TraceSummary[]>
  async queryBySkill(
    skillName: string,
    second?: { startDate?: Time; endDate?: Time; limit?: number } | Time | null,
    endDate?: Time | null,
    limit?: number,
  ): Promise<TraceSummary[]> {
    const isOptions = typeof second === 'object' && second !== null && !(second instanceof Date)
    const given = isOptions
      ? second
      : { startDate: second ?? undefined, endDate: endDate ?? undefined, limit }
    const name = parseInput(nameSchema, skillName, 'skillName')
    const options = parseInput(bySkillSchema, given, 'options')
    const rows = await this.#database.db
      .selectFrom('execution_traces')
      .select(SUMMARY_COLUMNS)
      .where('skill_name', '=', name)
      .where('started_at', '>=', options.startDate)
      .where('started_at', '<=', options.endDate)
      .orderBy('started_at', 'desc')
      .orderBy('trace_id', 'desc')
      .limit(options.limit)
      .execute()
    return rows.map(summaryOf)
  }

  /**
   * Failed traces whose error message is like the text, most similar first, then newest: Jaccard similarity of the sets of
   * words (separated by white space, in lower case), exact, over all failures of the window. `threshold` (default: 0.3) is
   * inclusive; at most `limit` (default: 10). Costs a look into an index of distinct messages, less with the extension `intarray`.
   * Failures that were stored before migration 0003 are found once `stepwell failures rebuild` has run.
   */
  async findSimilarFailures(
    errorPattern: string,
    options: number | { limit?: number; threshold?: number; skill?: string; since?: Time; until?: Time } = {},
  ): Promise<SimilarFailure[]> {
    const pattern = parseInput(plainText, errorPattern, 'errorPattern')
    const parsed = parseInput(
      similarSchema,
      typeof options === 'number' ? { limit: options } : options,
      'options',
    )
    return findSimilar(this.#database.db, this.#similar, { pattern, ...parsed })
  }

  /**
   * Failures of a window by what they say: messages that differ only in what varies (numbers, ids, addresses, quoted text, names …) are one group,
   * those with the most failures first; at most `limit` (default: 20), then `nextCursor`. The window is from `since` (default: 30 days before `until`) to
   * `until` (default: now), both inclusive. `newSince`: only groups of which no failure is older. Whole days are counted in
   * rollups: 12 ms for a million in 90 days. With `skill` its failures are passed in an index: 0.3 µs each.
   */
  async listFailureGroups(
    options: {
      skill?: string
      since?: Time
      until?: Time
      newSince?: Time
      limit?: number
      cursor?: string
    } = {},
  ): Promise<FailureGroupPage> {
    return listGroups(this.#database.db, this.#named, parseInput(failureGroupsSchema, options, 'options'))
  }

  /**
   * The group with this id, or with this pattern's id (both 16 hexadecimal digits, and both for good), or undefined: where and when it failed in a window
   * like that of `listFailureGroups`, examples, and what people wrote to it. Lists in it have at most `limit` members (default: 10).
   */
  async getFailureGroup(
    id: string,
    options: { skill?: string; since?: Time; until?: Time; limit?: number } = {},
  ): Promise<FailureGroup | undefined> {
    const asked = parseInput(failureGroupSchema, options, 'options')
    return readGroup(this.#database.db, this.#named, parseInput(failureGroupId, id, 'id'), asked)
  }

  /** The trace with its steps, or undefined. For ids that Stepwell made one partition is looked at; for others the current month, then all. */
  async getTrace(id: string): Promise<Trace | undefined> {
    return readTrace(this.#database.db, parseInput(traceId, id, 'traceId'), Date.now())
  }

  /**
   * What is stored of these traces, without steps, by id; those that are not stored are not in it. At most 1,000 ids a call. Ids
   * that Stepwell made lead straight to their rows.
   */
  async getSummaries(ids: readonly string[]): Promise<Map<string, TraceSummary>> {
    const wanted = parseInput(traceIds, ids, 'traceIds')
    const found = new Map<string, TraceSummary>()
    const starts = new Map(wanted.map((id) => [id, traceIdStart(id)]))
    for (const isOurs of [true, false]) {
      const some = wanted.filter((id) => (starts.get(id) !== undefined) === isOurs)
      if (some.length === 0) continue
      let query = this.#database.db
        .selectFrom('execution_traces')
        .select(SUMMARY_COLUMNS)
        .where('trace_id', 'in', some)
      if (isOurs) {
        // Prunes to the months in question, and the primary key does the rest.
        const times = some.map((id) => new Date(starts.get(id) as number))
        query = query.where(
          'started_at',
          'in',
          [...new Set(times.map(Number))].map((ms) => new Date(ms)),
        )
      }
      for (const row of await query.execute()) found.set(row.trace_id, summaryOf(row))
    }
    return found
  }

  /** The newest trace with this execution id, or undefined. */
  async getTraceByExecutionId(executionId: string): Promise<Trace | undefined> {
    return readExecution(this.#database.db, parseInput(nameSchema, executionId, 'executionId'))
  }

  /** Id of the newest trace with this execution id, or undefined: what `resolveTraceId` of a tracer needs. */
  async getTraceId(executionId: string): Promise<string | undefined> {
    const wanted = parseInput(nameSchema, executionId, 'executionId')
    const row = await this.#database.db
      .selectFrom('execution_traces')
      .select('trace_id')
      .where('execution_id', '=', wanted)
      .orderBy('started_at', 'desc')
      .orderBy('trace_id', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row?.trace_id
  }

  /**
   * Traces that match all filters, newest first. Awaited it is a page, with the cursor of the next; in `for await` all of them,
   * stable while others arrive. Nothing is asked before it is awaited or iterated over. Rejects with InvalidInputError for filters that cannot be used.
   */
  findTraces(filters: TraceFilters = {}): FoundTraces {
    // A copy: what the caller does with the object later changes nothing.
    const given = { ...filters }
    return new FoundTraces(async (cursor) => {
      const asked = parseInput(findSchema, cursor === undefined ? given : { ...given, cursor }, 'filters')
      return findPage(this.#database.db, this.#searched, asked)
    })
  }

  /**
   * Traces that match all filters with their steps, newest first, as they were recorded: for export. `limit` and `cursor` are not
   * taken. Memory holds a page of about 20,000 steps.
   */
  findWholeTraces(filters: Omit<TraceFilters, 'limit' | 'cursor'> = {}): AsyncIterable<WholeTrace> {
    const { cursor, limit, ...asked } = parseInput(findSchema, { ...filters }, 'filters')
    return wholeTraces(this.#database.db, this.#searched, asked)
  }

  /**
   * What sets failing runs (failed, timed out) apart from good ones: metadata values, steps and durations that are over-represented,
   * most significant first, with counts, lift and a p-value that is corrected for all that was looked at (see the function
   * `explainFailures`). The window is `since` to `until` (default: the last 7 days); good runs come from `baseline`, or the same window.
   * Looks at `sample` runs a side (default: 1,000; 10 to 10,000), evenly over the window, and says of how many; findings over `rate`
   * (default: 0.05) are left out, and over `limit` (default: 100) cut. Costs the sample, whatever the window holds. Association, not cause.
   */
  async explainFailures(
    options: {
      skill?: string
      since?: Time
      until?: Time
      baseline?: { since: Time; until: Time }
      sample?: number
      rate?: number
      limit?: number
    } = {},
  ): Promise<FailureReport> {
    const asked = parseInput(explainSchema, options, 'options')
    return explainWindow(this.#database.db, this.#table, asked)
  }

  /**
   * Traces that run, as far as they are stored (a worker stores one within ten seconds of its start), oldest first, and the step that
   * each is in; at most `limit` (default: 100), and whether there are more. Reads an index.
   */
  async listRunning(options: { skill?: string; limit?: number } = {}): Promise<RunningList> {
    return runningTraces(this.#database.db, this.#table, parseInput(runningSchema, options, 'options'))
  }

  /**
   * Traces that have been running for longer than the p99 (`quantile`, default: 0.99) of their skill's runs that ended by themselves, and
   * the step that each hangs in, since when. Those runs are all of the last seven days that are over, in UTC, as far as they are rolled up; of a skill that
   * had at most 500 in them, the newest 500; where fewer than 20 of these ended by themselves, those over `fallbackMs` count (default:
   * 3,600,000, an hour). Those first that are over it by the greatest factor; at most `limit` (default: 100), and whether there are more.
   * Costs a few rows for each skill with running traces, of those with few runs a few hundred; at most 500 skills are looked at.
   */
  async findStuck(
    options: { skill?: string; quantile?: number; fallbackMs?: number; limit?: number } = {},
  ): Promise<StuckList> {
    const asked = parseInput(stuckSchema, options, 'options')
    return stuckTraces(this.#database.db, this.#table, asked, Date.now())
  }

  /**
   * The skills that ran, by number of runs, then by name; at most `limit` (default: 100). Counts are what is stored, quantiles are within
   * 1 %. Costs what `skillStats` does, and a look into an index for each skill.
   */
  async listSkills(options: { since?: Time; until?: Time; limit?: number } = {}): Promise<SkillSummary[]> {
    const asked = parseInput(skillsSchema, options, 'options')
    return listSkills(this.#database.db, { ...asked, nowMs: Date.now() })
  }

  /**
   * What the runs that started from `since` (default: a day before `until`) to `until` (default: now) came to, both inclusive: counts,
   * rates and durations in all, by skill (the `limit` with the most runs; default: 100), and in pieces of a `bucket` where that is
   * given: 'minute', 'hour', 'day', 'week', or milliseconds, whole minutes; at most 2,000, in UTC. Counts are what is stored, always; quantiles
   * are within 1 %. From rollups: milliseconds for a month of a skill, whatever it holds. What was written in the last two minutes,
   * the ends of the window, and what no worker has rolled up yet is read trace by trace.
   */
  async skillStats(options: StatsOptions & { skill?: string } = {}): Promise<SkillStatistics> {
    const asked = parseInput(skillStatsSchema, options, 'options')
    return skillStats(this.#database.db, { skill: asked.skill, ...asked, nowMs: Date.now() })
  }

  /**
   * What the steps of a skill's runs came to, by name, those that took the most time first: as `skillStats`, and the share that a step has in
   * the time of the runs and in their failures. At most `limit` names (default: 100).
   */
  async stepStats(options: StatsOptions & { skill: string }): Promise<SkillStepStatistics> {
    const asked = parseInput(stepStatsSchema, options, 'options')
    return stepStats(this.#database.db, { ...asked, nowMs: Date.now() })
  }

  /** Closes the connections; a lent pool stays open. Idempotent. */
  close(): Promise<void> {
    return this.#database.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
