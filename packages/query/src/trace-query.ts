import {
  InvalidInputError,
  type Trace,
  type TraceSummary,
  traceIdStart,
  traceOfRow,
} from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { fetchPage } from './find-traces.ts'
import { fetchSkills, type SkillSummary } from './list-skills.ts'
import {
  type BySkillOptions,
  bySkillOptions,
  executionId,
  type ListSkillsOptions,
  listSkillsOptions,
  type SimilarFailuresOptions,
  similarFailuresOptions,
  type TraceFilters,
  type TraceQueryOptions,
  traceFilters,
  traceId,
} from './options.ts'
import { type Connection, type DatabaseConfig, openConnection } from './pool.ts'
import { fetchSimilarFailures, type SimilarFailure } from './similar-failures.ts'
import { SUMMARY_COLUMNS, summaryOf, withTimes } from './summary-columns.ts'
import type { Tables } from './tables.ts'
import { TraceList } from './trace-list.ts'
import { validate } from './validate.ts'

const DAY_MS = 86_400_000
const LATEST_MS = Date.UTC(9999, 11, 31)

/**
 * Asks stored traces. Only reads. Safe to share: calls run side by side, up to the pool's connections.
 *
 * Every method rejects with InvalidInputError for an argument that cannot be used, before anything is asked, and with the
 * error of `pg` where the database fails. Names and texts are taken as producers' are: cut at their limits, NUL and
 * lone surrogates as U+FFFD; so a name finds what was recorded under it. Lists are bounded and never carry steps.
 */
export class TraceQuery {
  readonly #connection: Connection
  #closing: Promise<void> | undefined

  /**
   * Connects lazily. `config` is a connection string, options of `pg` (`{ host, port, database, user, password }`,
   * `{ connectionString }`) or a pool, which stays the caller's: its time-outs, its errors, its end. An own pool lets the
   * process exit while it idles. Throws InvalidInputError.
   */
  constructor(config: DatabaseConfig, options: TraceQueryOptions = {}) {
    this.#connection = openConnection(config, options)
  }

  /**
   * Runs of a skill, newest first by start. Default: those of the last 30 days, at most 100. One index range in the months
   * of that time. The form (skillName, startDate, endDate, limit) means the same.
   */
  queryBySkill(skillName: string, options?: BySkillOptions): Promise<TraceSummary[]>
  queryBySkill(skillName: string, startDate?: Date, endDate?: Date, limit?: number): Promise<TraceSummary[]>
  async queryBySkill(
    skillName: string,
    second?: BySkillOptions | Date,
    endDate?: Date,
    limit?: number,
  ): Promise<TraceSummary[]> {
    const named = typeof second === 'object' && !(second instanceof Date)
    const given = named ? second : { startDate: second, endDate, limit }
    const asked = validate('queryBySkill', bySkillOptions, { ...given, skillName })
    const now = Date.now()
    const end = asked.endDate ?? new Date(now)
    const start = asked.startDate ?? new Date(Math.min(now, end.getTime()) - 30 * DAY_MS)
    const rows = await this.#db
      .selectFrom('execution_traces')
      .select(SUMMARY_COLUMNS)
      .where('skill_name', '=', asked.skillName)
      .where('started_at', '>=', start)
      .where('started_at', '<=', end)
      .orderBy('started_at', 'desc')
      .orderBy('trace_id', 'desc')
      .limit(asked.limit)
      .execute()
    return rows.map(summaryOf)
  }

  /**
   * Failed traces whose error message is like a text: the share of words, split at white space and in lower case, that
   * both have (Jaccard). The most similar first, then the newest, then by trace id. Default: the 10 best of at least
   * 0.3, of all failures there are; exact. Reads every distinct message once: its cost grows with the failures, so give
   * `since` or `skill` where there are millions. A number instead of options is the limit.
   */
  async findSimilarFailures(
    errorPattern: string,
    options: SimilarFailuresOptions | number = {},
  ): Promise<SimilarFailure[]> {
    const given = typeof options === 'number' ? { limit: options } : options
    return fetchSimilarFailures(
      this.#db,
      validate('findSimilarFailures', similarFailuresOptions, { ...given, errorPattern }),
    )
  }

  /**
   * A trace with its steps, or undefined. For an id of ours one look-up in one month; other ids are looked for in every
   * month, and of several starts under one id the newest is taken.
   */
  async getTrace(id: string): Promise<Trace | undefined> {
    const asked = validate('getTrace', traceId, id)
    const startMs = traceIdStart(asked)
    if (startMs !== undefined && startMs > LATEST_MS) return undefined
    let query = this.#db.selectFrom('execution_traces').where('trace_id', '=', asked)
    if (startMs !== undefined) query = query.where('started_at', '=', new Date(startMs))
    const row = await query
      .select([...SUMMARY_COLUMNS, 'steps'])
      .orderBy('started_at', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row && traceOfRow(withTimes(row))
  }

  /** The newest trace with an execution id, with its steps, or undefined. One index look-up in every month. */
  async getTraceByExecutionId(id: string): Promise<Trace | undefined> {
    const row = await this.#newestOf(validate('getTraceByExecutionId', executionId, id))
      .select([...SUMMARY_COLUMNS, 'steps'])
      .executeTakeFirst()
    return row && traceOfRow(withTimes(row))
  }

  /** The id of the newest trace with an execution id, or undefined: also after the hour that Redis remembers it. */
  async getTraceId(id: string): Promise<string | undefined> {
    const row = await this.#newestOf(validate('getTraceId', executionId, id))
      .select('trace_id')
      .executeTakeFirst()
    return row?.trace_id
  }

  #newestOf(id: string) {
    return this.#db
      .selectFrom('execution_traces')
      .where('execution_id', '=', id)
      .orderBy('started_at', 'desc')
      .orderBy('trace_id', 'desc')
      .limit(1)
  }

  /**
   * Traces by any of their properties, newest first, of one start the greater id first: `await` it for a page with the
   * cursor of the next, or iterate over all of them (`limit` is then the size of the pages). Pages follow a position,
   * not a count: traces that come in meanwhile shift nothing. Errors show when it is awaited or iterated over.
   */
  findTraces(filters: TraceFilters = {}): TraceList {
    // Taken now: what the caller does with the object later changes nothing.
    const given = { ...filters }
    return new TraceList(async (cursor) => {
      const asked = validate('findTraces', traceFilters, given)
      return fetchPage(this.#db, asked, cursor ?? asked.cursor)
    })
  }

  /**
   * The skills that ran, with how often and how it went, the one that ran last first. Default: those of the last 30 days,
   * at most 100. Counts the traces of that time: its cost grows with them.
   */
  async listSkills(options: ListSkillsOptions = {}): Promise<SkillSummary[]> {
    const asked = validate('listSkills', listSkillsOptions, options)
    return fetchSkills(this.#db, { ...asked, since: asked.since ?? new Date(Date.now() - 30 * DAY_MS) })
  }

  /** Ends the connections after the queries that run, except those of a lent pool. Idempotent. Later calls reject. */
  close(): Promise<void> {
    this.#closing ??= this.#connection.close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #db(): Kysely<Tables> {
    if (this.#closing !== undefined) throw new InvalidInputError('This TraceQuery is closed: make a new one')
    return this.#connection.db
  }
}
