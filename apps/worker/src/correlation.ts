import { CORRELATION_TTL_S, correlationKey } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'

// KEYS: correlation key. ARGV: trace id, seconds. The newest start owns the key: UUIDv7s sort by their start.
const setScript = new Script(`
local known = redis.call('GET', KEYS[1])
if known and known > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1`)

// KEYS: correlation key. ARGV: trace id.
const dropScript = new Script(
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
)

/**
 * The correlation keys execution id → trace id. They live an hour from their last use: set with the beginning, touched
 * while the trace is open. With 'open' they go when the trace is stored. They are a convenience with a way around it
 * (Postgres knows the execution id): a failure here holds nothing up.
 */
export class Correlation {
  readonly #redis: RedisLike
  readonly #namespace: string
  readonly keep: 'hour' | 'open'

  constructor(redis: RedisLike, namespace: string, keep: 'hour' | 'open') {
    this.#redis = redis
    this.#namespace = namespace
    this.keep = keep
  }

  /** Sets or touches the keys: execution id → trace id. */
  async set(traceIds: ReadonlyMap<string, string>): Promise<void> {
    // One call a key: in a cluster each has a slot of its own.
    await this.#all(
      [...traceIds].map(([executionId, traceId]) =>
        setScript.run(
          this.#redis,
          [correlationKey(executionId, this.#namespace)],
          [traceId, CORRELATION_TTL_S],
        ),
      ),
    )
  }

  /** The traces are stored: in 'open' mode their keys go, unless another trace owns them by now. */
  async stored(traceIds: ReadonlyMap<string, string>): Promise<void> {
    if (this.keep === 'hour') return
    await this.#all(
      [...traceIds].map(([executionId, traceId]) =>
        dropScript.run(this.#redis, [correlationKey(executionId, this.#namespace)], [traceId]),
      ),
    )
  }

  async #all(calls: Promise<unknown>[]): Promise<void> {
    await Promise.allSettled(calls)
  }
}
