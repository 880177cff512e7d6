import {
  boundText,
  canonicalJson,
  type Delta,
  EARLIEST_START_MS,
  ERROR_MAX_LENGTH,
  encodeObject,
  isoTime,
  type JsonObject,
  LATEST_START_AHEAD_MS,
  NAME_MAX_LENGTH,
  parseTraceId,
  producerOfStep,
  repeatableTraceId,
  STEP_STATUSES,
  type StepId,
  type StepTuple,
  TRACE_STATUSES,
  TRUNCATED_KEY,
  traceIdStart,
} from '@stepwell/protocol'
import { deltaSchema, explain, stepIdSchema } from '@stepwell/protocol/schema'
import * as z from 'zod'

// What is null is unknown, as what is absent is.
const known = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined) as z.ZodType<z.output<T> | undefined, unknown>

const time = z
  .union([z.string(), z.number()], 'must be a time: ISO 8601 text, or milliseconds since 1970')
  .transform((value, context) => {
    const date = typeof value === 'number' ? new Date(value) : isoTime(value)
    if (date !== undefined && !Number.isNaN(date.getTime())) return date.getTime()
    context.addIssue({
      code: 'custom',
      message: `'${String(value).slice(0, 40)}' is no time: ISO 8601 is needed`,
    })
    return z.NEVER
  })
const text = z.string('must be text')
const duration = z.number('must be milliseconds, 0 or more').min(0, 'must be 0 or more').max(1e13)
const object = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'must be an object',
)
const id = z.union([z.int().min(1), text], 'must be a whole number or text')

const stepSchema = z.object({
  name: text,
  timestamp: known(time),
  duration_ms: known(duration),
  status: z.enum([...STEP_STATUSES, 'running'], `must be one of ${STEP_STATUSES.join(', ')}, running`),
  error_message: known(text),
  id: known(id),
  parent_id: known(id),
  attributes: known(object),
})

const lineSchema = z.object({
  trace_id: known(text),
  skill_name: text.min(1, 'must not be empty'),
  execution_id: known(text),
  started_at: time,
  completed_at: known(time),
  total_duration_ms: known(duration),
  status: z.enum(TRACE_STATUSES, `must be one of ${TRACE_STATUSES.join(', ')}`),
  error_message: known(text),
  metadata: known(object),
  steps: known(z.array(stepSchema, 'must be a list')),
  parent_trace_id: known(text),
  parent_step_id: known(id),
  root_trace_id: known(text),
  missing_steps: known(z.int().min(0)),
})

type Line = z.output<typeof lineSchema>

/** A run of a file, as the delta that says all of it. */
export interface ImportedRun {
  delta: Delta
  /** Something was longer than a trace keeps, and was cut. */
  isCut: boolean
}

/**
 * The run that a line of NDJSON says. Throws Error with the reason for a line that cannot be taken. Without a `trace_id` the id
 * follows from start, skill, and execution id or else the whole content: the same line is the same trace, always.
 */
export function runOfLine(line: string, nowMs: number): ImportedRun {
  const parsed = lineSchema.safeParse(parseJson(line))
  if (!parsed.success) throw new Error(reasonOf(parsed.error))
  const run = parsed.data
  const startedAtMs = run.started_at
  if (startedAtMs < EARLIEST_START_MS || startedAtMs > nowMs + LATEST_START_AHEAD_MS)
    throw new Error('started_at must be from 2000-01-01 to a day from now')
  const delta = deltaOf(run, startedAtMs)
  const checked = deltaSchema.safeParse(delta)
  if (!checked.success) throw new Error(explain(checked.error))
  return { delta, isCut: isCut(run, delta) }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new Error(`is no JSON: ${(error as Error).message}`)
  }
}

function reasonOf(error: z.ZodError): string {
  const issue = error.issues[0]
  const where = issue?.path.map(String).join('.')
  const missing = issue?.code === 'invalid_type' && issue.input === undefined
  const reason = missing ? 'is missing' : (issue?.message ?? 'is invalid')
  return where ? `${where} ${reason}` : 'must be an object: one trace'
}

function deltaOf(run: Line, startedAtMs: number): Delta {
  const steps = tuplesOf(run.steps ?? [], startedAtMs)
  const own = steps.filter((step) => producerOfStep(step[0]) === '')
  const missing = run.missing_steps ?? 0
  const delta: Delta = {
    t: idOf(run, startedAtMs),
    b: 1,
    k: boundText(run.skill_name, NAME_MAX_LENGTH),
    s: steps,
    n: [own.length + missing, own.filter((step) => step[3] !== null).length],
  }
  if (traceIdStart(delta.t) === undefined) delta.at = startedAtMs
  if (run.execution_id) delta.x = boundText(run.execution_id, NAME_MAX_LENGTH)
  if (run.metadata !== undefined) Object.assign(delta, { m: JSON.parse(encodeObject(run.metadata)), r: 1 })
  if (run.parent_trace_id !== undefined) {
    const root = run.root_trace_id === undefined ? null : uuid(run.root_trace_id, 'root_trace_id')
    delta.u = [
      uuid(run.parent_trace_id, 'parent_trace_id'),
      stepId(run.parent_step_id, 'parent_step_id') ?? null,
      root,
    ]
  }
  // It ran elsewhere, and nobody goes on with it here: silence says nothing.
  if (run.status === 'running') delta.h = 1
  else {
    delta.e = [
      run.status.charAt(0) as 's' | 'f' | 't',
      run.completed_at === undefined ? null : run.completed_at - startedAtMs,
      run.total_duration_ms ?? null,
      run.error_message === undefined ? null : boundText(run.error_message, ERROR_MAX_LENGTH),
    ]
  }
  return delta
}

function idOf(run: Line, startedAtMs: number): string {
  if (run.trace_id === undefined) {
    const { skill_name, execution_id } = run
    const rest = execution_id ? { execution_id } : { content: JSON.parse(JSON.stringify(run)) }
    return repeatableTraceId(startedAtMs, canonicalJson({ skill_name, ...rest }))
  }
  const traceId = uuid(run.trace_id, 'trace_id')
  const told = traceIdStart(traceId)
  if (told !== undefined && told !== Math.floor(startedAtMs)) {
    throw new Error(
      `trace_id is a UUIDv7 of another time (${new Date(told).toISOString()}) than started_at: leave one right`,
    )
  }
  return traceId
}

function uuid(text: string, what: string): string {
  const found = parseTraceId(text)
  if (found === undefined) throw new Error(`${what} must be a UUID`)
  return found
}

function stepId(given: StepId | undefined, what: string): StepId | undefined {
  if (given === undefined) return undefined
  const parsed = stepIdSchema.safeParse(given)
  if (parsed.success) return parsed.data
  throw new Error(
    `${what} '${String(given).slice(0, 40)}' must be a whole number from 1, or text of at most 64 characters without a dot that is not all digits`,
  )
}

function tuplesOf(steps: NonNullable<Line['steps']>, startedAtMs: number): StepTuple[] {
  const ids = steps.map((step, i) => stepId(step.id, `steps.${i}.id`))
  const taken = new Set<StepId>()
  for (const [i, given] of ids.entries()) {
    if (given === undefined) continue
    if (taken.has(given)) throw new Error(`steps.${i}.id '${given}' is there twice`)
    taken.add(given)
  }
  let next = 0
  return steps.map((step, i): StepTuple => {
    let number = ids[i]
    while (number === undefined) {
      next += 1
      if (!taken.has(next)) number = next
    }
    if (step.status !== 'running' && step.duration_ms === undefined)
      throw new Error(`steps.${i}.duration_ms is missing`)
    return [
      number,
      boundText(step.name, NAME_MAX_LENGTH),
      step.timestamp === undefined ? null : step.timestamp - startedAtMs,
      step.status === 'running' ? null : (step.duration_ms as number),
      step.status === 'running' ? 0 : STEP_STATUSES.indexOf(step.status),
      step.error_message === undefined ? null : boundText(step.error_message, ERROR_MAX_LENGTH),
      stepId(step.parent_id, `steps.${i}.parent_id`) ?? null,
      step.attributes === undefined ? null : JSON.parse(encodeObject(step.attributes)),
    ]
  })
}

function isCut(run: Line, delta: Delta): boolean {
  const long = (text: string | undefined, max: number): boolean => text !== undefined && text.length > max
  const marked = (given: JsonObject | undefined, kept: JsonObject | null | undefined): boolean =>
    given?.[TRUNCATED_KEY] === undefined && kept?.[TRUNCATED_KEY] !== undefined
  return (
    long(run.skill_name, NAME_MAX_LENGTH) ||
    long(run.execution_id, NAME_MAX_LENGTH) ||
    long(run.error_message, ERROR_MAX_LENGTH) ||
    marked(run.metadata, delta.m) ||
    (run.steps ?? []).some(
      (step, i) =>
        long(step.name, NAME_MAX_LENGTH) ||
        long(step.error_message, ERROR_MAX_LENGTH) ||
        marked(step.attributes, delta.s?.[i]?.[7]),
    )
  )
}
