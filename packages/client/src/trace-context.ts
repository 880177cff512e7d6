import {
  CORRELATION_TTL_S,
  correlationKey,
  InvalidInputError,
  parseRedisUrl,
  parseTraceId,
  textOf,
} from '@stepwell/protocol'
import { namespaceOf } from './options.ts'
import { openRedis, type RedisConnection, type RedisTarget } from './redis-connection.ts'
import { withinMs } from './redis-sink.ts'

const ANSWER_MAX_MS = 1_000

/**
 * The correlation of execution ids with trace ids, in Redis: `trace_context:{execution_id}` → trace id, for 3600 s from the last
 * set (behind the namespace, if there is one). Neither call rejects because Redis is slow or gone; each takes a second at most.
 */
export class TraceContext {
  readonly #connection: RedisConnection
  readonly #namespace: string
  readonly #waiting = new Set<() => void>()

  /** `redis`: URL, ioredis options, or a connection that is lent. `namespace`: the tracer's; default `stepwell`. Throws InvalidInputError. */
  constructor(redis: RedisTarget, options: { namespace?: string } = {}) {
    if (typeof redis === 'string') parseRedisUrl(redis)
    else if (typeof redis !== 'object' || redis === null) {
      throw new InvalidInputError(
        'TraceContext needs Redis: a URL like redis://host:6379, options of ioredis, or a connection',
      )
    }
    this.#namespace = namespaceOf(options?.namespace)
    this.#connection = openRedis(redis)
    this.#connection.onReady(() => {
      for (const go of this.#waiting) go()
      this.#waiting.clear()
    })
  }

  /** Remembers the trace for an hour. True when Redis has it, false when it could not be reached. Idempotent. */
  async setTraceId(executionId: string, traceId: string): Promise<boolean> {
    if (parseTraceId(textOf(traceId)) === undefined)
      throw new InvalidInputError(`'${textOf(traceId)}' is no trace id: a UUID is needed`)
    return this.#withRedis(
      async ({ redis }) =>
        (await redis.set(
          correlationKey(textOf(executionId), this.#namespace),
          traceId,
          'EX',
          CORRELATION_TTL_S,
        )) === 'OK',
      false,
    )
  }

  /** The trace id, or undefined if it is unknown or Redis cannot be reached. */
  async getTraceId(executionId: string): Promise<string | undefined> {
    return this.#withRedis(
      async ({ redis }) =>
        (await redis.get(correlationKey(textOf(executionId), this.#namespace))) ?? undefined,
      undefined,
    )
  }

  /** Ends the connection, unless it was lent. Idempotent. */
  close(): Promise<void> {
    return this.#connection.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #withRedis<T>(ask: (connection: RedisConnection) => Promise<T>, otherwise: T): Promise<T> {
    this.#connection.hold()
    let go = (): void => {}
    const ready = new Promise<void>((resolve) => {
      go = resolve
    })
    if (this.#connection.isReady()) go()
    else this.#waiting.add(go)
    try {
      return (
        (await withinMs(
          ANSWER_MAX_MS,
          ready.then(() => this.#connection.answered(ask(this.#connection))),
        )) ?? otherwise
      )
    } finally {
      // What was given up is not asked later.
      this.#waiting.delete(go)
      this.#connection.release()
    }
  }
}
