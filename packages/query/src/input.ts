import {
  boundText,
  cleanJson,
  EARLIEST_START_MS,
  InvalidInputError,
  isoTime,
  type Json,
  NAME_MAX_LENGTH,
  parseTraceId,
  TRACE_STATUSES,
} from '@stepwell/protocol'
import { wordsOf } from '@stepwell/protocol/failures'
import * as z from 'zod'
import { BUCKET_LENGTHS, pieceCount } from './time-buckets.ts'

/** Most traces that a page holds. */
export const LIMIT_MAX = 1_000
/** Most UTF-16 units of a text to look for. */
const TEXT_MAX_LENGTH = 65_536

const DAY_MS = 86_400_000

// Postgres has no NUL in texts: the driver's error would not say which argument it was.
const text = z
  .string('must be text')
  .max(TEXT_MAX_LENGTH, `must be at most ${TEXT_MAX_LENGTH} characters`)
  .refine((value) => !value.includes('\0'), 'must not contain a NUL character')

// Names are cut when they are recorded; cut alike, a longer one finds what was recorded under it.
const name = text.transform((value) => boundText(value, NAME_MAX_LENGTH))

const LATEST_MS = Date.UTC(9999, 11, 31)

const time = z
  .union([z.date(), z.string(), z.number()], 'must be a Date, an ISO 8601 text or milliseconds since 1970')
  // Date itself reads a text without an offset in the zone of the process, and takes 'run 3' for a day of 2001.
  .transform((value) =>
    typeof value === 'string' ? (isoTime(value) ?? new Date(Number.NaN)) : new Date(value),
  )
  .refine(
    (date) => !Number.isNaN(date.getTime()),
    'must be a valid date: a Date, an ISO 8601 text or milliseconds since 1970',
  )
  // Postgres knows fewer years than a Date does. No trace starts outside of these, so the answer is the same.
  .transform((date) => new Date(Math.min(Math.max(date.getTime(), EARLIEST_START_MS - 1), LATEST_MS)))

const inOrder = ({ since, until }: { since?: Date | undefined; until?: Date | undefined }): boolean =>
  since === undefined || until === undefined || since <= until

const NOT_AFTER_UNTIL = 'must not be after until'
// zod takes `message` out of the object that it is given: it cannot be shared.
const OUT_OF_ORDER = { path: ['since'], error: NOT_AFTER_UNTIL }

const limit = z
  .int(`must be a whole number from 1 to ${LIMIT_MAX}`)
  .min(1, `must be a whole number from 1 to ${LIMIT_MAX}`)
  .max(LIMIT_MAX, `must be a whole number from 1 to ${LIMIT_MAX}`)

const milliseconds = z.number('must be milliseconds, 0 or more').min(0, 'must be milliseconds, 0 or more')

/** A trace id in canonical form. */
export const traceId = z.string('must be text').transform((value, context) => {
  const id = parseTraceId(value)
  if (id === undefined) context.addIssue({ code: 'custom', message: 'must be a trace id: a UUID' })
  return id ?? ''
})

/** Several trace ids. */
export const traceIds = z.array(traceId).max(1_000, 'at most 1,000 ids a call')

/** A text to compare with. */
export const plainText = text

/** The name of a skill, or an execution id. */
export const nameSchema = name

/** Options of the constructor. */
export const queryOptionsSchema = z.strictObject({
  schema: z
    .string('must be text')
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, {
      error: ({ input }) =>
        `must be a usable schema name, not '${input}': lower-case letters, digits and _, at most 63`,
    })
    .optional(),
  statementTimeoutMs: z
    .int('must be whole milliseconds')
    .min(0, 'must be 0 (never) or more')
    .max(2 ** 31 - 1, 'must be less than 25 days')
    .optional(),
  maxConnections: z
    .int('must be a whole number')
    .min(1, 'must be from 1 to 1000')
    .max(1_000, 'must be from 1 to 1000')
    .optional(),
})

/** Options of `queryBySkill`. */
export const bySkillSchema = z
  .strictObject({ startDate: time.optional(), endDate: time.optional(), limit: limit.default(100) })
  .transform(({ startDate, endDate = new Date(), limit }) => ({
    startDate: startDate ?? new Date(Math.min(Date.now(), endDate.getTime()) - 30 * DAY_MS),
    endDate,
    limit,
  }))
  .refine(({ startDate, endDate }) => startDate <= endDate, {
    path: ['startDate'],
    message: 'must not be after endDate',
  })

/** Options of `findSimilarFailures`. */
export const similarSchema = z
  .strictObject({
    limit: limit.default(10),
    threshold: z
      .number('must be a number from 0 to 1')
      .min(0, 'must be from 0 to 1')
      .max(1, 'must be from 0 to 1')
      .default(0.3),
    skill: name.optional(),
    since: time.optional(),
    until: time.optional(),
  })
  .refine(inOrder, OUT_OF_ORDER)

/** The window of groups, with its ends in it: 30 days up to now, unless said otherwise. */
const withGroupWindow = <T extends { since?: Date | undefined; until?: Date | undefined }>({
  since,
  until,
  ...rest
}: T) => {
  const end = until ?? new Date()
  return {
    ...rest,
    since: since ?? new Date(end.getTime() - 30 * DAY_MS),
    until: end,
  }
}

/** Options of `listFailureGroups`. */
export const failureGroupsSchema = z
  .strictObject({
    skill: name.optional(),
    since: time.optional(),
    until: time.optional(),
    newSince: time.optional(),
    limit: limit.default(20),
    cursor: z.string('must be the nextCursor of a page').max(1_000).optional(),
  })
  .refine(inOrder, OUT_OF_ORDER)
  .transform(withGroupWindow)

/** Options of `getFailureGroup`. */
export const failureGroupSchema = z
  .strictObject({
    skill: name.optional(),
    since: time.optional(),
    until: time.optional(),
    limit: limit.default(10),
  })
  .refine(inOrder, OUT_OF_ORDER)
  .transform(withGroupWindow)

/** The id of a failure group, or of one of its patterns, as tables have it. */
export const failureGroupId = z
  .string('must be text')
  .regex(/^[0-9a-f]{16}$/i, 'must be 16 hexadecimal digits')
  .transform((id) => BigInt.asIntN(64, BigInt(`0x${id}`)))

const STATUS_RULE = `must be one of ${TRACE_STATUSES.join(', ')}, or a list of them`

const status = z.enum(TRACE_STATUSES, `must be one of ${TRACE_STATUSES.join(', ')}`)

/** As deep as metadata may nest on the wire: nothing deeper is stored. */
const NESTING_MAX = 100

/** What keeps a value from being looked for in metadata; undefined if nothing does. */
function flawOf(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return value.includes('\0') ? 'must not contain a NUL character' : undefined
  if (value === null || typeof value === 'boolean' || Number.isFinite(value)) return undefined
  const isPlain =
    Array.isArray(value) ||
    (typeof value === 'object' && Object.prototype.toString.call(value) === '[object Object]')
  if (!isPlain) return 'must be JSON'
  if (depth === 0) return `must nest at most ${NESTING_MAX} deep`
  for (const item of Object.entries(value as object).flat()) {
    const flaw = flawOf(item, depth - 1)
    if (flaw !== undefined) return flaw
  }
  return undefined
}

/** What metadata must contain, as JSON text. */
const metadata = z.unknown().transform((value, context) => {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  const flaw = isObject ? flawOf(value, NESTING_MAX) : 'must be an object of JSON'
  if (flaw === undefined) return JSON.stringify(cleanJson(value as Json))
  context.addIssue({ code: 'custom', message: flaw })
  return z.NEVER
})

/** Filters of `findTraces`. */
export const findSchema = z
  .strictObject({
    skill: name.optional(),
    status: z
      .union([status.transform((one) => [one]), z.array(status).min(1, STATUS_RULE)], STATUS_RULE)
      .optional(),
    since: time.optional(),
    until: time.optional(),
    minDurationMs: milliseconds.optional(),
    maxDurationMs: milliseconds.optional(),
    metadata: metadata.optional(),
    stepName: name.optional(),
    failedStep: name.optional(),
    errorText: text.refine((value) => wordsOf(value).size > 0, 'must hold a word').optional(),
    executionId: name.optional(),
    parentTraceId: traceId.optional(),
    rootTraceId: traceId.optional(),
    limit: limit.default(100),
    cursor: z.string('must be the nextCursor of a page').max(1_000).optional(),
  })
  .refine(inOrder, OUT_OF_ORDER)
  .refine(
    ({ minDurationMs = 0, maxDurationMs = Number.POSITIVE_INFINITY }) => minDurationMs <= maxDurationMs,
    {
      path: ['minDurationMs'],
      message: 'must not be more than maxDurationMs',
    },
  )

/** Options of `explainFailures`: the window ends now and is seven days long; good runs are those of the same window. */
export const explainSchema = z
  .strictObject({
    skill: name.optional(),
    since: time.optional(),
    until: time.default(() => new Date()),
    baseline: z.strictObject({ since: time, until: time }).refine(inOrder, OUT_OF_ORDER).optional(),
    sample: z
      .int('must be a whole number from 10 to 10000')
      .min(10, 'must be a whole number from 10 to 10000')
      .max(10_000, 'must be a whole number from 10 to 10000')
      .default(1_000),
    rate: z
      .number('must be a number from 0 to 1')
      .min(0, 'must be from 0 to 1')
      .max(1, 'must be from 0 to 1')
      .default(0.05),
    limit: limit.default(100),
  })
  .transform(({ since, until, baseline, ...rest }) => {
    const window = { since: since ?? new Date(until.getTime() - 7 * DAY_MS), until }
    return { ...rest, ...window, baseline: baseline ?? window }
  })
  .refine(inOrder, OUT_OF_ORDER)

/** Options of `listRunning`. */
export const runningSchema = z.strictObject({ skill: name.optional(), limit: limit.default(100) })

/** Options of `findStuck`. */
export const stuckSchema = z.strictObject({
  skill: name.optional(),
  quantile: z
    .number('must be a number between 0 and 1')
    .gt(0, 'must be between 0 and 1')
    .lt(1, 'must be between 0 and 1')
    .default(0.99),
  fallbackMs: milliseconds.default(3_600_000),
  limit: limit.default(100),
})

/** Options of `listSkills`. */
export const skillsSchema = z
  .strictObject({ since: time.optional(), until: time.optional(), limit: limit.default(100) })
  .refine(inOrder, OUT_OF_ORDER)
  .transform(({ since, until, limit }) => ({
    window: { fromMs: since?.getTime() ?? EARLIEST_START_MS, toMs: (until?.getTime() ?? LATEST_MS) + 1 },
    limit,
  }))

/** Most pieces that statistics are cut into. */
const BUCKETS_MAX = 2_000

const BUCKET_RULE = `must be one of ${Object.keys(BUCKET_LENGTHS).join(', ')}, or milliseconds: whole minutes`

const bucket = z
  .union(
    [
      z
        .enum(Object.keys(BUCKET_LENGTHS) as (keyof typeof BUCKET_LENGTHS)[])
        .transform((unit) => BUCKET_LENGTHS[unit]),
      z.int(BUCKET_RULE).positive(BUCKET_RULE).multipleOf(60_000, BUCKET_RULE),
    ],
    BUCKET_RULE,
  )
  .optional()

const statistics = { since: time.optional(), until: time.optional(), bucket, limit: limit.default(100) }

/** The window, with the end in it; a day up to now, unless said otherwise. */
const asWindow = <
  T extends { since?: Date | undefined; until?: Date | undefined; bucket?: number | undefined },
>(
  { since, until = new Date(), bucket, ...rest }: T,
  context: z.RefinementCtx,
) => {
  const fromMs = (since ?? new Date(until.getTime() - DAY_MS)).getTime()
  const window = { fromMs, toMs: until.getTime() + 1 }
  if (fromMs > until.getTime())
    context.addIssue({ code: 'custom', path: ['since'], message: NOT_AFTER_UNTIL })
  else if (bucket !== undefined && pieceCount(window, bucket) > BUCKETS_MAX)
    context.addIssue({
      code: 'custom',
      path: ['bucket'],
      message: `must be longer, or the window shorter: it would be ${pieceCount(window, bucket)} pieces, and ${BUCKETS_MAX} are the most`,
    })
  return { ...rest, window, bucketMs: bucket }
}

/** Options of `skillStats`. */
export const skillStatsSchema = z.strictObject({ ...statistics, skill: name.optional() }).transform(asWindow)

/** Options of `stepStats`. */
export const stepStatsSchema = z.strictObject({ ...statistics, skill: name }).transform(asWindow)

/** The input as the schema gives it. Throws InvalidInputError that names the argument and says what it should be. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown, argument: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const where = issue === undefined || issue.path.length === 0 ? argument : issue.path.join('.')
  const message =
    issue?.code === 'unrecognized_keys'
      ? `does not know '${issue.keys.join("', '")}'`
      : issue?.code === 'invalid_type' && issue.expected === 'object'
        ? 'must be an object'
        : (issue?.message ?? 'is invalid')
  throw new InvalidInputError(`${where} ${message}`)
}
