import {
  DEFAULT_NAMESPACE,
  InvalidInputError,
  makeRedactor,
  NAMESPACE,
  parseRedisUrl,
  type RedactOptions,
  type Redactor,
} from '@stepwell/protocol'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { serviceMetadata } from './encode-metadata.ts'
import { type TracerReport, warn } from './report.ts'
import type { Sink } from './sink.ts'
import type { SpoolOptions } from './spool.ts'

/** How a tracer is set up. One of `redis`, `sink` and `disabled` is needed. */
export interface TracerOptions {
  /**
   * Where to send: a URL (`redis://host:6379`, `redis+cluster://host:port,…`, `redis+sentinel://host:port,…/master-name`; `rediss…`
   * for TLS), options of ioredis, or a connection that the host lends (Redis or Cluster): it is used only while it is ready, and
   * never closed or changed.
   */
  redis?: string | RedisOptions | Redis | Cluster | undefined
  /** Another place to send to, for tests. */
  sink?: Sink | undefined
  /** Record nothing; every call is a few nanoseconds. Default: false. */
  disabled?: boolean | undefined
  /** Goes into the metadata of each trace as `service`. */
  service?: string | undefined
  /** Prefix of all Redis keys, the same as the workers'. Default: `stepwell`. */
  namespace?: string | undefined
  /** Number of streams, the same as the workers'. Default: 1. */
  shards?: number | undefined
  /** Milliseconds after which an open trace's events are sent at the latest; ended ones go sooner. 5 to 60,000; default: 50. */
  flushIntervalMs?: number | undefined
  /**
   * Most bytes of memory, by a good estimate, that what waits to be sent takes. Over three quarters of it steps are dropped, over all of
   * it starts too, and long messages and metadata are cut. The end of a run whose start was taken always goes. Default: 16 MiB.
   */
  bufferMaxBytes?: number | undefined
  /**
   * Most bytes of frames in Redis that no worker has dealt with, estimated from the size of our own. Over it frames wait here until
   * workers have caught up, and when the buffer is full events are dropped as `backlog`. Asked for once a second. Default: 256 MiB.
   */
  backlogMaxBytes?: number | undefined
  /** Most traces open at once. Default: 100,000. */
  openTracesMax?: number | undefined
  /** Milliseconds between signs of life while a trace is open. Default: 10,000. */
  heartbeatIntervalMs?: number | undefined
  /** Milliseconds that `attach({ executionId })` looks for its trace. Default: 5,000. */
  resolveTimeoutMs?: number | undefined
  /** Milliseconds that `flush` and `close` take at most. Default: 2,000. */
  closeTimeoutMs?: number | undefined
  /**
   * A folder for what cannot be sent: when Redis is away at the end of the process, at `process.exit()`, at an uncaught exception, and
   * when the buffer fills while Redis is away. A later start sends it. Default: none, and that is lost, counted.
   */
  spool?: string | SpoolOptions | undefined
  /** Packs frames: a third of the size for about twice the CPU. `zstd` needs Node ≥ 22.15 here. Default: `none`. */
  compression?: 'none' | 'zstd' | undefined
  /**
   * What is taken out of metadata, attributes and error messages before they leave the process. Default: true, the usual secrets:
   * passwords, keys, tokens and cookies by their names, credentials in URLs and known forms of tokens in any text. false: nothing.
   */
  redact?: boolean | RedactOptions | undefined
  /** Asked for an execution id that Redis does not know (any more), for example `(id) => query.getTraceId(id)`. */
  resolveTraceId?: ((executionId: string) => Promise<string | undefined>) | undefined
  /** Told of trouble, once when it begins and once when it is over. Default: `process.emitWarning`. */
  report?: ((report: TracerReport) => void) | undefined
}

/** The options with their defaults. */
export interface Settings {
  disabled: boolean
  /** What it adds to the metadata of each trace, as JSON text. */
  serviceText: string | undefined
  namespace: string
  shards: number
  flushIntervalMs: number
  bufferMaxBytes: number
  backlogMaxBytes: number
  openTracesMax: number
  heartbeatIntervalMs: number
  resolveTimeoutMs: number
  closeTimeoutMs: number
  compression: 'none' | 'zstd'
  redactor: Redactor | undefined
  spool: Required<SpoolOptions> | undefined
  resolveTraceId: ((executionId: string) => Promise<string | undefined>) | undefined
  report: (report: TracerReport) => void
}

const RANGES = {
  shards: [1, 256, 1],
  flushIntervalMs: [5, 60_000, 50],
  bufferMaxBytes: [65_536, 2 ** 32, 16_777_216],
  backlogMaxBytes: [1_048_576, 2 ** 44, 268_435_456],
  openTracesMax: [1, 10_000_000, 100_000],
  heartbeatIntervalMs: [100, 30_000, 10_000],
  resolveTimeoutMs: [0, 600_000, 5_000],
  closeTimeoutMs: [0, 600_000, 2_000],
} as const

const KNOWN = new Set([
  ...Object.keys(RANGES),
  ...[
    'redis',
    'sink',
    'disabled',
    'service',
    'namespace',
    'compression',
    'redact',
    'spool',
    'resolveTraceId',
    'report',
  ],
])

/** Checks the options and fills in defaults. Throws InvalidInputError that says which option and what it should be. */
export function readOptions(options: TracerOptions): Settings {
  if (typeof options !== 'object' || options === null)
    throw new InvalidInputError('The tracer needs options: { redis: url }')
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key))
      throw new InvalidInputError(`Unknown option '${key}': known are ${[...KNOWN].join(', ')}`)
  }
  const {
    redis,
    sink,
    disabled = false,
    service,
    compression = 'none',
    resolveTraceId,
    report = warn,
  } = options
  expect(typeof disabled === 'boolean', 'disabled', 'true or false')
  expect(service === undefined || typeof service === 'string', 'service', 'text')
  expect(resolveTraceId === undefined || typeof resolveTraceId === 'function', 'resolveTraceId', 'a function')
  expect(typeof report === 'function', 'report', 'a function')
  expect(compression === 'none' || compression === 'zstd', 'compression', "'none' or 'zstd'")
  expect(
    compression === 'none' || 'zstd' in process.versions,
    'compression',
    "'none' on this Node: zstd came with 22.15",
  )
  if (!disabled && redis === undefined && sink === undefined) {
    throw new InvalidInputError(
      'Nowhere to send traces: give redis (a URL, ioredis options or a connection), or disabled: true. Is REDIS_URL set?',
    )
  }
  if (redis !== undefined) expectRedis(redis)
  if (sink !== undefined)
    expect(
      typeof sink === 'object' && sink !== null && typeof sink.send === 'function',
      'sink',
      'an object with send()',
    )
  return {
    disabled,
    serviceText: service === undefined ? undefined : serviceMetadata(service),
    namespace: namespaceOf(options.namespace),
    compression,
    redactor: makeRedactor(options.redact),
    spool: spoolOf(options.spool),
    resolveTraceId,
    report,
    shards: inRange(options, 'shards'),
    flushIntervalMs: inRange(options, 'flushIntervalMs'),
    bufferMaxBytes: inRange(options, 'bufferMaxBytes'),
    backlogMaxBytes: inRange(options, 'backlogMaxBytes'),
    openTracesMax: inRange(options, 'openTracesMax'),
    heartbeatIntervalMs: inRange(options, 'heartbeatIntervalMs'),
    resolveTimeoutMs: inRange(options, 'resolveTimeoutMs'),
    closeTimeoutMs: inRange(options, 'closeTimeoutMs'),
  }
}

/** The namespace, or the default. Throws InvalidInputError. */
export function namespaceOf(namespace: string | undefined): string {
  if (namespace === undefined) return DEFAULT_NAMESPACE
  expect(
    typeof namespace === 'string' && NAMESPACE.test(namespace),
    'namespace',
    'up to 64 of A-Z a-z 0-9 _ . : -',
  )
  return namespace
}

const SPOOL_MAX_BYTES = 67_108_864

function spoolOf(spool: string | SpoolOptions | undefined): Required<SpoolOptions> | undefined {
  if (spool === undefined) return undefined
  const { folder, maxBytes = SPOOL_MAX_BYTES } = typeof spool === 'string' ? { folder: spool } : (spool ?? {})
  expect(typeof folder === 'string' && folder !== '', 'spool', 'a folder, or { folder, maxBytes }')
  expect(Number.isInteger(maxBytes) && maxBytes >= 65_536, 'spool', '{ maxBytes } of 65536 or more')
  return { folder, maxBytes }
}

function expectRedis(redis: unknown): void {
  if (typeof redis === 'string') expectUrl(redis)
  else
    expect(
      typeof redis === 'object' && redis !== null && ('xadd' in redis || isOptions(redis)),
      'redis',
      'the text of a URL, options of ioredis, or a connection of ioredis',
    )
  // It would come before the names of our streams too, where no worker looks for them.
  const { keyPrefix, options } = redis as { keyPrefix?: unknown; options?: { keyPrefix?: unknown } }
  expect(!keyPrefix && !options?.keyPrefix, 'redis', "without keyPrefix: use the option 'namespace'")
}

function expectUrl(url: string): void {
  try {
    parseRedisUrl(url)
  } catch (error) {
    throw new InvalidInputError(`Option 'redis' must be a URL of Redis. ${(error as Error).message}`)
  }
}

// A URL object or a client of another library would pass for empty options, and lead to localhost.
function isOptions(redis: object): boolean {
  return !(redis instanceof URL) && !('on' in redis)
}

/** Milliseconds that a flush may take, of whatever was passed: Infinity is the longest that a timer can wait. */
export function timeoutOf(options: { timeoutMs?: number } | null | undefined, standard: number): number {
  const ms = options?.timeoutMs
  return typeof ms === 'number' && ms >= 0 ? Math.min(ms, 2 ** 31 - 1) : standard
}

function inRange(options: TracerOptions, key: keyof typeof RANGES): number {
  const [min, max, standard] = RANGES[key]
  const value = options[key] ?? standard
  expect(Number.isInteger(value) && value >= min && value <= max, key, `a whole number from ${min} to ${max}`)
  return value
}

function expect(condition: boolean, option: string, what: string): void {
  if (!condition) throw new InvalidInputError(`Option '${option}' must be ${what}`)
}
