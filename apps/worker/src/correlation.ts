import { CORRELATION_TTL_S, correlationKey } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'

// KEYS: correlation keys. ARGV: seconds, and the trace ids one after the other, each of 36 letters: as arguments of their own they cost the
// worker half as much again (0.9 µs a key to 0.6). The newest start owns the key: UUIDv7s sort by their start. What somebody else put
// at a key is theirs, and no reason to leave out the others.
const setScript = new Script(`
for i, key in ipairs(KEYS) do
  local id = ARGV[2]:sub(36 * i - 35, 36 * i)
  local known = redis.pcall('SET', key, id, 'EX', ARGV[1], 'GET')
  if type(known) == 'string' and known > id then redis.call('SET', key, known, 'EX', ARGV[1]) end
end`)

/** Execution ids, and of each the trace: as a map they would be the most of what a worker has to collect. Of one that is there twice the newest start counts. */
export interface Correlated {
  executionIds: string[]
  traceIds: string[]
}

export function correlate(
  { executionIds, traceIds }: Correlated,
  executionId: string,
  traceId: string,
): void {
  executionIds.push(executionId)
  traceIds.push(traceId)
}

/** Keys that one script call sets: a call blocks Redis, 500 for about 2 ms. */
const SET_MAX = 500

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

  /** Sets or touches the keys. */
  async set({ executionIds, traceIds }: Correlated): Promise<void> {
    // In a cluster each key has a slot of its own. On one server a call a key takes Redis half as long again, and the worker a command each.
    const perCall = 'nodes' in this.#redis ? 1 : SET_MAX
    const calls: Promise<unknown>[] = []
    for (let i = 0; i < executionIds.length; i += perCall) {
      const keys = executionIds
        .slice(i, i + perCall)
        .map((executionId) => correlationKey(executionId, this.#namespace))
      const args = [CORRELATION_TTL_S, traceIds.slice(i, i + perCall).join('')]
      calls.push(setScript.run(this.#redis, keys, args))
    }
    await this.#all(calls)
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
