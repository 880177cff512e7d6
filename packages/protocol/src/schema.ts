import { isUtf8 } from 'node:buffer'
import * as z from 'zod'
import { parseAroundRuns } from './around-runs.ts'
import type { Delta, StepTuple } from './delta.ts'
import {
  COUNTERS_MAX_LENGTH,
  FRAME_MAX_DELTAS,
  type Frame,
  frameFields,
  READ_VERSIONS,
  unpackDeltas,
} from './frame.ts'
import {
  EARLIEST_START_MS,
  LATEST_START_AHEAD_MS,
  PRODUCER_ID,
  parseTraceId,
  STEP_ID_TEXT,
  traceIdStart,
} from './ids.ts'
import { isJsonObject, isPlainDelta, NESTING_MAX, SPAN_MAX_MS, STEP_COUNT_MAX } from './plain-delta.ts'
import { boundText, cleanJson, ERROR_MAX_LENGTH, hasSuspiciousEscape, NAME_MAX_LENGTH } from './plain-json.ts'
import { RunPart } from './run-part.ts'
import { type Json, type JsonObject, STEP_STATUSES } from './trace.ts'

const count = z.int().min(0)
const stepCount = count.max(STEP_COUNT_MAX)
const span = z.number().min(-SPAN_MAX_MS).max(SPAN_MAX_MS)
const duration = z.number().min(0).max(SPAN_MAX_MS)
const name = z.string().max(NAME_MAX_LENGTH)
const errorMessage = z.string().max(ERROR_MAX_LENGTH)
const jsonObject = z.custom<JsonObject>(isJsonObject, `not an object, or nested deeper than ${NESTING_MAX}`)

/** A UUID of any version, in canonical form. */
export const traceIdSchema = z.string().refine((id) => parseTraceId(id) === id, 'not a UUID in lower case')
/** Step ids: docs/PROTOCOL.md. */
export const stepIdSchema = z.union([z.int().min(1), z.string().regex(STEP_ID_TEXT)])

/** A step on the wire and in the table. */
export const stepSchema: z.ZodType<StepTuple> = z.tuple([
  stepIdSchema,
  name,
  span.nullish(),
  duration.nullish(),
  z
    .int()
    .min(0)
    .max(STEP_STATUSES.length - 1)
    .optional(),
  errorMessage.nullish(),
  stepIdSchema.nullish(),
  jsonObject.nullish(),
  count.optional(),
]) as never

// Up to the first that is wrong: zod would make an issue for each of a million.
const steps = z.custom<unknown[]>(Array.isArray, 'not a list').superRefine((list, context) => {
  for (const [i, step] of list.entries()) {
    const issue = stepSchema.safeParse(step).error?.issues[0]
    if (issue === undefined) continue
    context.addIssue({ code: 'custom', path: [i, ...issue.path], message: issue.message })
    return
  }
})

/** One delta. Unknown keys are left out, so that a newer producer can say more. */
export const deltaSchema: z.ZodType<Delta> = z
  .object({
    t: traceIdSchema,
    at: z.number().optional(),
    b: z.literal(1).optional(),
    k: name.min(1).optional(),
    x: name.min(1).optional(),
    m: jsonObject.optional(),
    r: count.optional(),
    u: z.tuple([traceIdSchema, stepIdSchema.nullable(), traceIdSchema.nullable()]).optional(),
    l: duration.optional(),
    h: z.literal(1).optional(),
    s: steps.optional(),
    n: z.tuple([stepCount, stepCount]),
    e: z
      .tuple([z.enum(['s', 'f', 't']), span.nullable(), duration.nullable(), errorMessage.nullish()])
      .optional(),
  })
  .refine((d) => d.b === undefined || d.k !== undefined, 'a beginning (b) needs the skill (k)') as never

/** What a producer counted. */
export const countersSchema = z.object({ emitted: count, acked: count, dropped: z.record(z.string(), count) })

const wholeNumber = z
  .string()
  .regex(/^[0-9]{1,15}$/, 'not a whole number')
  .transform(Number)

const frameSchema = z.object({
  v: z.string().refine((version) => READ_VERSIONS.includes(version), {
    error: ({ input }) =>
      `unknown frame version '${boundText(String(input), 20)}': this worker reads ${READ_VERSIONS.join(' and ')}`,
  }),
  p: z.string().regex(PRODUCER_ID, 'not a producer id'),
  n: wholeNumber,
  c: wholeNumber,
  k: z.string().optional(),
  z: z.string().optional(),
  d: z.union([z.string(), z.instanceof(Buffer)], 'no deltas'),
})

/** A delta that was refused: as it came, and why. */
export interface RefusedDelta {
  value: unknown
  reason: string
}

/** What is in a stream entry. A bad delta is refused alone; the others of its frame go on. */
export type DecodedFrame<D = Delta> =
  | {
      ok: true
      frame: Omit<Frame, 'deltas'>
      deltas: D[]
      refused: RefusedDelta[]
      /** Bytes of the JSON text, unpacked. */
      size: number
      /** The JSON text of the deltas, as it stands in the entry; undefined where that is packed, or what Postgres refuses was cleaned out of it. */
      text: Buffer | undefined
    }
  | { ok: false; reason: string }

/** A field of an entry, or its value: as text, or as Redis has it. */
export type FrameField = string | Buffer

/**
 * Decodes and validates a stream entry, `flat` being its fields and values as Redis answers them. Never throws.
 * Texts are cleaned of what Postgres refuses. `nowMs` bounds the starts that are accepted.
 */
export function decodeFrame(flat: readonly FrameField[], nowMs: number): DecodedFrame {
  return decode(flat, nowMs, (text) => JSON.parse(text.toString())) as DecodedFrame
}

/** The same, for who stores what is in it: runs that went well, and parts of such (`RunPart`), are not parsed where they are written as our client does. */
export function readFrame(flat: readonly FrameField[], nowMs: number): DecodedFrame<Delta | RunPart> {
  return decode(flat, nowMs, parseAroundRuns)
}

const ESCAPE = Buffer.from('\\u')

function decode(
  flat: readonly FrameField[],
  nowMs: number,
  parse: (text: Buffer) => unknown,
): DecodedFrame<Delta | RunPart> {
  const fields = frameSchema.safeParse(Object.fromEntries(frameFields(flat)))
  if (!fields.success) return { ok: false, reason: explain(fields.error) }
  const { p: producer, n: number, c: deltaCount, k, z: packing, d } = fields.data
  if (deltaCount > FRAME_MAX_DELTAS) {
    return { ok: false, reason: `c: ${deltaCount} deltas: a frame has at most ${FRAME_MAX_DELTAS}` }
  }
  let text: Buffer
  let values: unknown
  let isAsItStands = packing === undefined
  try {
    text = wellFormed(unpackDeltas(typeof d === 'string' ? Buffer.from(d) : d, packing))
    if (text.includes(ESCAPE) && hasSuspiciousEscape(text.toString('latin1'))) {
      values = cleanJson(JSON.parse(text.toString()) as Json)
      isAsItStands = false
    } else values = parse(text)
  } catch (error) {
    return { ok: false, reason: `deltas (d): ${boundText((error as Error).message, 200)}` }
  }
  if (!Array.isArray(values)) return { ok: false, reason: 'deltas (d): not an array' }
  if (values.length !== deltaCount) {
    return { ok: false, reason: `deltas (d): ${values.length} where c says ${deltaCount}` }
  }
  const deltas: (Delta | RunPart)[] = []
  const refused: RefusedDelta[] = []
  for (const value of values) {
    if (value instanceof RunPart) {
      const reason = refuseStart(value.startedAtMs, nowMs)
      if (reason === undefined) deltas.push(value)
      else refused.push({ value: value.delta(), reason })
      continue
    }
    const checked = isPlainDelta(value)
      ? { success: true as const, data: value }
      : deltaSchema.safeParse(value)
    const reason = checked.success ? refuseStart(startOf(checked.data), nowMs) : explain(checked.error)
    if (reason === undefined) deltas.push(checked.data as Delta)
    else refused.push({ value, reason })
  }
  const frame = { producer, number, deltaCount, counters: decodeCounters(k) }
  return { ok: true, frame, deltas, refused, size: text.length, text: isAsItStands ? text : undefined }
}

/** What is no UTF-8 is replaced, as where it is read as text: Postgres would refuse it. */
const wellFormed = (text: Buffer): Buffer => (isUtf8(text) ? text : Buffer.from(text.toString()))

/** Whether it is a delta; one of a newer version, that says more than we know, is one too. */
export const isDelta = (value: unknown): value is Delta =>
  isPlainDelta(value) || deltaSchema.safeParse(value).success

/** The start of a delta's trace, in whole milliseconds since 1970; undefined where neither the id nor the delta tells it. */
export function startOf(delta: Delta): number | undefined {
  return traceIdStart(delta.t) ?? (delta.at === undefined ? undefined : Math.floor(delta.at))
}

function refuseStart(start: number | undefined, nowMs: number): string | undefined {
  if (start === undefined) return 'at: needed, for the trace id does not tell the start'
  if (start >= EARLIEST_START_MS && start <= nowMs + LATEST_START_AHEAD_MS) return undefined
  return `the trace starts at ${start} ms: accepted is 2000-01-01 to a day from now`
}

// Counters that cannot be read are not worth losing a frame for.
function decodeCounters(text = ''): Frame['counters'] {
  try {
    const counters =
      text.length > COUNTERS_MAX_LENGTH ? undefined : countersSchema.safeParse(JSON.parse(text))
    if (counters?.success) return cleanJson(counters.data as never)
  } catch {
    // not JSON
  }
  return { emitted: 0, acked: 0, dropped: {} }
}

/** The first issue of a validation error in one line: where and what. */
export function explain(error: z.ZodError): string {
  const issue = error.issues[0]
  if (issue === undefined) return 'invalid'
  const where = issue.path.join('.')
  return boundText(where === '' ? issue.message : `${where}: ${issue.message}`, 300)
}
