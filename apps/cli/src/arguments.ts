import { isoTime, type JsonObject, TRACE_STATUSES, type TraceStatus } from '@stepwell/protocol'
import type { TraceFilters } from '@stepwell/query'
import { type Command, Option } from 'commander'
import { UsageError } from './errors.ts'

const UNITS: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7, w: 6.048e8 }

/** Milliseconds of `250ms`, `10s`, `5m`, `2h`, `7d`, `1w`. Throws UsageError. */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/.exec(text.trim()) ?? []
  if (number === undefined)
    throw new UsageError(`'${text}' is no duration: write 250ms, 10s, 5m, 2h, 7d or 1w`)
  return Number(number) * (UNITS[unit as string] as number)
}

/** How long the pieces of a window are: minute, hour, day, week, or a duration. Throws UsageError. */
export function parseBucket(text: string): 'minute' | 'hour' | 'day' | 'week' | number {
  if (text === 'minute' || text === 'hour' || text === 'day' || text === 'week') return text
  return parseDuration(text)
}

/** A time: ISO 8601 (without an offset: UTC), or a duration ago. Throws UsageError. */
export function parseTime(text: string, nowMs = Date.now()): Date {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?\s*[a-z]+$/.test(trimmed)) return new Date(Math.max(0, nowMs - parseDuration(trimmed)))
  const time = isoTime(trimmed)
  if (time === undefined)
    throw new UsageError(
      `'${text}' is no time: write 2026-11-24, 2026-11-24T09:30:00Z, or 10m for ten minutes ago`,
    )
  return time
}

/** `key=value`, the value as JSON where it is JSON, added to what came before. Throws UsageError. */
export function parsePair(text: string, before: JsonObject = {}): JsonObject {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`'${text}' is no pair: write key=value`)
  const value = text.slice(at + 1)
  try {
    return { ...before, [text.slice(0, at)]: JSON.parse(value) }
  } catch {
    return { ...before, [text.slice(0, at)]: value }
  }
}

/** A whole number of at least `min`. Throws UsageError. */
export function parseCount(text: string, min = 1): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < min)
    throw new UsageError(`'${text}' must be a whole number, ${min} or more`)
  return number
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
    .option('--parent <id>', 'started from this trace')
    .option('--root <id>', 'of the tree that this trace began')
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
