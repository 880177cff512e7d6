import {
  boundText,
  cleanText,
  EARLIEST_START_MS,
  encodeObject,
  NAME_MAX_LENGTH,
  parseTraceId,
  TRACE_STATUSES,
  TRUNCATED_KEY,
  type TraceStatus,
} from '@stepwell/protocol'
import * as z from 'zod'

/** Most entries that one call returns. */
export const LIMIT_MAX = 1_000

const LATEST_MS = Date.UTC(9999, 11, 31)
const LIMIT_HINT = `give a whole number from 1 to ${LIMIT_MAX} (findTraces can be iterated over for more)`

const limit = (byDefault: number): z.ZodType<number> =>
  z.int(LIMIT_HINT).min(1, LIMIT_HINT).max(LIMIT_MAX, LIMIT_HINT).default(byDefault)

// Postgres knows fewer years than a Date does; no trace started before 2000, so the bound changes no answer.
const date = z
  .date('give a valid Date')
  .transform((time) => new Date(Math.min(Math.max(time.getTime(), EARLIEST_START_MS - 1), LATEST_MS)))

// As producers write them: cut, and without what Postgres cannot hold. So a name finds what was recorded under it.
const name = z.string('give text').transform((text) => boundText(text, NAME_MAX_LENGTH))

const durationMs = z.number('give milliseconds').min(0, 'give milliseconds, 0 or more')

/** A trace id in any case. */
export const traceId = z.string('give a trace id, a UUID').transform((text, context) => {
  const id = parseTraceId(text)
  if (id !== undefined) return id
  context.addIssue({ code: 'custom', message: `'${boundText(text, 60)}' is no trace id: give a UUID` })
  return z.NEVER
})

/** An execution id. */
export const executionId = name

/** How many connections, for how long, to which schema. */
export interface TraceQueryOptions {
  /** Schema of the tables, lower-case letters, digits and _. Default: what the search path finds. */
  schema?: string | undefined
  /**
   * Milliseconds after which Postgres ends a statement (error 57014); 0: never. Default 30,000. Without effect on a lent pool.
   * It is a parameter of the connection, which PgBouncer refuses unless told otherwise: set 0 there.
   */
  statementTimeoutMs?: number | undefined
  /** Most connections at once. Default 10, as in `pg`. Without effect on a lent pool. */
  maxConnections?: number | undefined
}

export const traceQueryOptions: z.ZodType<TraceQueryOptions> = z.strictObject({
  schema: z
    .string('give text')
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'give lower-case letters, digits and _, at most 63')
    .optional(),
  statementTimeoutMs: z
    .int('give whole milliseconds')
    .min(0, 'give 0 (never) or more')
    .max(2 ** 31 - 1)
    .optional(),
  maxConnections: z.int('give a whole number').min(1, 'give 1 or more').max(10_000).optional(),
})

/** Which runs of a skill. */
export interface BySkillOptions {
  /** Earliest start, inclusive. Default: 30 days ago (30 days before `endDate`, where that is in the past). */
  startDate?: Date | undefined
  /** Latest start, inclusive. Default: now. */
  endDate?: Date | undefined
  /** 1 to 1,000; default 100. */
  limit?: number | undefined
}

export const bySkillOptions = z
  .strictObject({
    skillName: name,
    startDate: date.optional(),
    endDate: date.optional(),
    limit: limit(100),
  })
  .refine(({ startDate, endDate }) => !isAfter(startDate, endDate), 'startDate is after endDate: swap them')

/** Which failures to compare with. */
export interface SimilarFailuresOptions {
  /** 1 to 1,000; default 10. */
  limit?: number | undefined
  /** Least similarity, 0 to 1, inclusive; default 0.3. */
  threshold?: number | undefined
  /** Earliest start, inclusive. Default: all. */
  since?: Date | undefined
  /** Latest start, exclusive. Default: all. */
  until?: Date | undefined
  /** Of this skill only. */
  skill?: string | undefined
}

const THRESHOLD_HINT = 'give a number from 0 to 1'

export const similarFailuresOptions = z
  .strictObject({
    errorPattern: z
      .string('give text')
      .transform(cleanText)
      .refine((text) => text.trim() !== '', 'give at least one word'),
    limit: limit(10),
    threshold: z.number(THRESHOLD_HINT).min(0, THRESHOLD_HINT).max(1, THRESHOLD_HINT).default(0.3),
    since: date.optional(),
    until: date.optional(),
    skill: name.optional(),
  })
  .refine(({ since, until }) => !isAfter(since, until), 'since is after until: swap them')

/** Which skills to list. */
export interface ListSkillsOptions {
  /** Earliest start of the traces that count, inclusive. Default: 30 days ago. */
  since?: Date | undefined
  /** Latest start, exclusive. Default: all. */
  until?: Date | undefined
  /** 1 to 1,000; default 100. */
  limit?: number | undefined
}

export const listSkillsOptions = z
  .strictObject({ since: date.optional(), until: date.optional(), limit: limit(100) })
  .refine(({ since, until }) => !isAfter(since, until), 'since is after until: swap them')

/** Which traces. All that are given must hold; without any, all traces. */
export interface TraceFilters {
  /** Exact name. '' finds traces whose beginning never arrived. */
  skill?: string | undefined
  /** One status, or several of which one must hold. */
  status?: TraceStatus | readonly TraceStatus[] | undefined
  /** Earliest start, inclusive. */
  since?: Date | undefined
  /** Latest start, exclusive. */
  until?: Date | undefined
  /** Milliseconds, inclusive. Running traces have no duration yet and are left out. */
  minDurationMs?: number | undefined
  /** Milliseconds, inclusive. Running traces have no duration yet and are left out. */
  maxDurationMs?: number | undefined
  /** What the metadata must contain, nested: `{ user: { id: 7 } }`. Lists must contain the given items. */
  metadata?: Record<string, unknown> | undefined
  /** Exact name of a step that the trace has. Reads the steps of all traces that pass the other filters: add some. */
  stepName?: string | undefined
  executionId?: string | undefined
  /** The trace that these were started from. Not indexed: add `since`. */
  parentTraceId?: string | undefined
  /** The first trace of their tree. Not indexed: add `since`. */
  rootTraceId?: string | undefined
  /** Traces a page, 1 to 1,000; default 100. */
  limit?: number | undefined
  /** `nextCursor` of the page before, with the same filters. */
  cursor?: string | undefined
}

const status = z.enum(TRACE_STATUSES, `give ${TRACE_STATUSES.join(', ')}, or a list of them`)

const metadata = z
  .custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'give an object',
  )
  .transform(encodeObject)
  .refine((text) => !text.includes(`"${TRUNCATED_KEY}":`), 'give a smaller object')

export const traceFilters = z
  .strictObject({
    skill: name.optional(),
    status: z
      .union([status.transform((one) => [one]), z.array(status).min(1, 'give at least one status')])
      .optional(),
    since: date.optional(),
    until: date.optional(),
    minDurationMs: durationMs.optional(),
    maxDurationMs: durationMs.optional(),
    metadata: metadata.optional(),
    stepName: name.optional(),
    executionId: name.optional(),
    parentTraceId: traceId.optional(),
    rootTraceId: traceId.optional(),
    limit: limit(100),
    cursor: z.string('give the nextCursor of a page').optional(),
  })
  .refine(({ since, until }) => !isAfter(since, until), 'since is after until: swap them')
  .refine(
    ({ minDurationMs = 0, maxDurationMs = Infinity }) => minDurationMs <= maxDurationMs,
    'minDurationMs is more than maxDurationMs: swap them',
  )

/** TraceFilters that were validated: names as they are stored, metadata as JSON text. */
export type ValidFilters = z.infer<typeof traceFilters>

const isAfter = (from: Date | undefined, to: Date | undefined): boolean =>
  from !== undefined && to !== undefined && from > to
