import { InvalidInputError, parseTraceId, TRACE_STATUSES } from '@stepwell/protocol'
import * as z from 'zod'

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

const time = z
  .union([z.date(), z.string(), z.number()], 'must be a Date, an ISO 8601 text or milliseconds since 1970')
  .transform((value) => new Date(value))
  .refine(
    (date) => !Number.isNaN(date.getTime()),
    'must be a valid date: a Date, an ISO 8601 text or milliseconds since 1970',
  )

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

/** An execution id, or any other plain text. */
export const plainText = text

/** Options of `queryBySkill`. */
export const bySkillSchema = z
  .strictObject({ startDate: time.optional(), endDate: time.optional(), limit: limit.default(100) })
  .transform(({ startDate, endDate = new Date(), limit }) => ({
    startDate: startDate ?? new Date(Date.now() - 30 * DAY_MS),
    endDate,
    limit,
  }))
  .refine(({ startDate, endDate }) => startDate <= endDate, {
    path: ['startDate'],
    message: 'must not be after endDate',
  })

/** Options of `findSimilarFailures`. */
export const similarSchema = z.strictObject({
  limit: limit.default(10),
  threshold: z
    .number('must be a number from 0 to 1')
    .min(0, 'must be from 0 to 1')
    .max(1, 'must be from 0 to 1')
    .default(0.3),
  skill: text.optional(),
  since: time.optional(),
  until: time.optional(),
})

const status = z.enum(TRACE_STATUSES, `must be one of ${TRACE_STATUSES.join(', ')}`)

const json: z.ZodType<unknown> = z.json('must be JSON')

/** Filters of `findTraces`. */
export const findSchema = z.strictObject({
  skill: text.optional(),
  status: z
    .union([status, z.array(status).min(1)], `must be one of ${TRACE_STATUSES.join(', ')}, or a list of them`)
    .optional(),
  since: time.optional(),
  until: time.optional(),
  minDurationMs: milliseconds.optional(),
  maxDurationMs: milliseconds.optional(),
  metadata: z
    .record(z.string(), json, 'must be an object of JSON')
    .refine((value) => !/\\u0000/.test(JSON.stringify(value)), 'must not contain a NUL character')
    .optional(),
  stepName: text.optional(),
  executionId: text.optional(),
  parentTraceId: traceId.optional(),
  rootTraceId: traceId.optional(),
  limit: limit.default(100),
  cursor: z.string('must be the nextCursor of a page').max(1_000).optional(),
})

/** Options of `listSkills`. */
export const skillsSchema = z.strictObject({
  since: time.optional(),
  until: time.optional(),
  limit: limit.default(100),
})

/** The input as the schema gives it. Throws InvalidInputError that names the argument and says what it should be. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown, argument: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const where = issue === undefined || issue.path.length === 0 ? argument : issue.path.join('.')
  const message =
    issue?.code === 'unrecognized_keys'
      ? `does not know '${issue.keys.join("', '")}'`
      : (issue?.message ?? 'is invalid')
  throw new InvalidInputError(`${where} ${message}`)
}
