import { isoTime, type JsonObject, parseTraceId, TRACE_STATUSES, type TraceStatus } from '@stepwell/protocol'
import type { TraceFilters } from '@stepwell/query'
import { type Command, InvalidArgumentError, Option } from 'commander'

// What these throw, commander tells with the option as it was typed and the value that it was given.

const UNITS: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7, w: 6.048e8 }

/** Milliseconds of `250ms`, `10s`, `5m`, `2h`, `7d`, `1w`. Throws InvalidArgumentError. */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/.exec(text.trim()) ?? []
  if (number === undefined) throw new InvalidArgumentError('Write a duration: 250ms, 10s, 5m, 2h, 7d or 1w')
  return Number(number) * (UNITS[unit as string] as number)
}

/** How long the pieces of a window are: minute, hour, day, week, or a duration of whole minutes. Throws InvalidArgumentError. */
export function parseBucket(text: string): 'minute' | 'hour' | 'day' | 'week' | number {
  if (text === 'minute' || text === 'hour' || text === 'day' || text === 'week') return text
  const ms = parseDuration(text)
  if (ms === 0 || ms % 60_000 !== 0)
    throw new InvalidArgumentError(
      'Write minute, hour, day, week, or a duration of whole minutes: 5m, 6h, 2d',
    )
  return ms
}

/** A time: ISO 8601 (without an offset: UTC), or a duration ago. Throws InvalidArgumentError. */
export function parseTime(text: string, nowMs = Date.now()): Date {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?\s*[a-z]+$/.test(trimmed)) return new Date(Math.max(0, nowMs - parseDuration(trimmed)))
  const time = isoTime(trimmed)
  if (time === undefined)
    throw new InvalidArgumentError(
      'Write a time: 2026-11-24, 2026-11-24T09:30:00Z, or 10m for ten minutes ago',
    )
  return time
}

/** `key=value`, the value as JSON where it is JSON, added to what came before. Throws InvalidArgumentError. */
export function parsePair(text: string, before: JsonObject = {}): JsonObject {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Write key=value')
  const value = text.slice(at + 1)
  try {
    return { ...before, [text.slice(0, at)]: JSON.parse(value) }
  } catch {
    return { ...before, [text.slice(0, at)]: value }
  }
}

/** A whole number from `min` to `max`. Throws InvalidArgumentError. */
export function parseCount(text: string, min = 1, max = Number.MAX_SAFE_INTEGER): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !(number >= min && number <= max))
    throw new InvalidArgumentError(
      `Write a whole number, ${max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`}`,
    )
  return number
}

/** A number from 0 to 1. Throws InvalidArgumentError. */
export function parseShare(text: string): number {
  const share = Number(text)
  if (text.trim() === '' || !(share >= 0 && share <= 1))
    throw new InvalidArgumentError('Write a number from 0 to 1')
  return share
}

/** A trace id, in canonical form. Throws InvalidArgumentError. */
export function parseId(text: string): string {
  const id = parseTraceId(text)
  if (id === undefined) throw new InvalidArgumentError('Write a trace id: a UUID')
  return id
}

/** The options of commands that choose traces, as they are parsed. */
export interface FilterOptions {
  skill?: string
  status?: TraceStatus[]
  since?: Date
  until?: Date
  minDuration?: number
  maxDuration?: number
  metadata?: JsonObject
  step?: string
  execution?: string
  parent?: string
  root?: string
  failedStep?: string
  error?: string
}

/** Gives a command the options that choose traces. */
export function withFilters(command: Command): Command {
  return command
    .option('--skill <name>', 'of this skill')
    .addOption(
      new Option('--status <status...>', 'with one of these statuses').choices(TRACE_STATUSES as never),
    )
    .option('--since <time>', 'started since: a date, or 10m, 2h, 7d ago', (text) => parseTime(text))
    .option('--until <time>', 'started until', (text) => parseTime(text))
    .option('--min-duration <duration>', 'that took at least: 250ms, 10s, 5m', parseDuration)
    .option('--max-duration <duration>', 'that took at most', parseDuration)
    .option('--metadata <key=value>', 'with this in the metadata; may be given again', parsePair)
    .option('--step <name>', 'with a step of this name')
    .option('--execution <id>', 'with this execution id')
    .option('--parent <id>', 'started from this trace', parseId)
    .option('--root <id>', 'of the tree that this trace began', parseId)
    .option('--failed-step <name>', 'that failed or timed out in this step')
    .option('--error <words>', 'that failed with all these words in the message')
}

/** The filters that the options say. */
export function filtersOf(options: FilterOptions): Omit<TraceFilters, 'limit' | 'cursor'> {
  const { skill, status, since, until, minDuration, maxDuration, metadata, step, execution } = options
  const { parent, root, failedStep, error } = options
  return {
    ...(skill === undefined ? {} : { skill }),
    ...(status === undefined ? {} : { status }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(minDuration === undefined ? {} : { minDurationMs: minDuration }),
    ...(maxDuration === undefined ? {} : { maxDurationMs: maxDuration }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(step === undefined ? {} : { stepName: step }),
    ...(execution === undefined ? {} : { executionId: execution }),
    ...(parent === undefined ? {} : { parentTraceId: parent }),
    ...(root === undefined ? {} : { rootTraceId: root }),
    ...(failedStep === undefined ? {} : { failedStep }),
    ...(error === undefined ? {} : { errorText: error }),
  }
}
