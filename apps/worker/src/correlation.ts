import { CORRELATION_TTL_S, correlationKey, JsonBytes, type RunPart } from '@stepwell/protocol'
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

/** Keys that one script call sets: a call blocks Redis, 500 for about 2 ms. */
const SET_MAX = 500

// KEYS: correlation key. ARGV: trace id.
const dropScript = new Script(
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
)

const ID_LENGTH = 36
const DOLLAR = 0x24
const CRLF = Buffer.from('\r\n')
const SECONDS = String(CORRELATION_TTL_S)

/**
 * Correlation keys, and of each the trace. Written as Redis is sent them (https://redis.io/docs/latest/develop/reference/protocol-spec/): as texts, and a
 * command that was put together of them, they were a quarter of what a worker has to collect. Of a key that is there twice the newest start
 * counts.
 */
export class Correlated {
  readonly #prefix: Buffer
  readonly #keys = new JsonBytes()
  readonly #ids = new JsonBytes()
  readonly #perCall: number
  /** Where the keys of each call begin. */
  readonly #begins: number[] = []
  #length = 0

  /** `prefix`: what each key begins with. */
  constructor(prefix: string, perCall: number) {
    this.#prefix = Buffer.from(prefix)
    this.#perCall = perCall
  }

  add(executionId: string, traceId: string): void {
    this.#begin(Buffer.byteLength(executionId))
    this.#keys.json(executionId)
    this.#ids.json(traceId)
    this.#keys.ascii(CRLF)
  }

  /** That of a run, which MUST have an execution id. */
  addRun({ bytes, executionIdFrom, executionIdTo, idFrom }: RunPart): void {
    const length = executionIdTo - executionIdFrom
    this.#begin(length)
    this.#keys.copy(bytes, executionIdFrom, executionIdTo, length)
    this.#ids.copy(bytes, idFrom, idFrom + ID_LENGTH, ID_LENGTH)
    this.#keys.ascii(CRLF)
  }

  #begin(length: number): void {
    if (this.#length % this.#perCall === 0) this.#begins.push(this.#keys.length)
    this.#length += 1
    this.#keys.byte(DOLLAR)
    this.#keys.digits(this.#prefix.length + length)
    this.#keys.ascii(CRLF)
    this.#keys.ascii(this.#prefix)
  }

  /** Of each call how many keys, the keys written as arguments, and the ids of their traces; where they were collected. */
  calls(): { count: number; keys: Buffer; ids: Buffer }[] {
    const [keys, ids] = [this.#keys.memory, this.#ids.memory]
    return this.#begins.map((begin, i) => {
      const first = i * this.#perCall
      const count = Math.min(this.#perCall, this.#length - first)
      return {
        count,
        keys: keys.subarray(begin, this.#begins[i + 1] ?? this.#keys.length),
        ids: ids.subarray(ID_LENGTH * first, ID_LENGTH * (first + count)),
      }
    })
  }

  clear(): void {
    this.#keys.clear()
    this.#ids.clear()
    this.#begins.length = 0
    this.#length = 0
  }
}

/**
 * The correlation keys execution id → trace id. They live an hour from their last use: set with the beginning, touched
 * while the trace is open. With 'open' they go when the trace is stored. They are a convenience with a way around it
 * (Postgres knows the execution id): a failure here holds nothing up.
 */
export class Correlation {
  readonly #redis: RedisLike
  readonly #namespace: string
  readonly keep: 'hour' | 'open'
  #spare: Correlated | undefined

  constructor(redis: RedisLike, namespace: string, keep: 'hour' | 'open') {
    this.#redis = redis
    this.#namespace = namespace
    this.keep = keep
  }

  /** To be filled, and then set. */
  collect(): Correlated {
    const spare = this.#spare
    this.#spare = undefined
    if (spare !== undefined) return spare
    const prefix = correlationKey('', this.#namespace)
    // In a cluster each key has a slot of its own. On one server a call a key takes Redis half as long again, and the worker a command each.
    if ('nodes' in this.#redis) return new Correlated(prefix, 1)
    return new Correlated(`${this.#redis.options.keyPrefix ?? ''}${prefix}`, SET_MAX)
  }

  /** Sets or touches the keys. What they were collected in is cleared, to be filled anew. */
  async set(correlated: Correlated): Promise<void> {
    const redis = this.#redis
    const calls = correlated.calls().map(({ count, keys, ids }) => {
      if (!('nodes' in redis))
        return setScript.runWritten(redis, count, 2, [keys, argument(SECONDS), argument(ids)])
      const key = keys.toString('utf8', keys.indexOf(CRLF) + CRLF.length, keys.length - CRLF.length)
      return setScript.run(redis, [key], [SECONDS, ids.toString()])
    })
    correlated.clear()
    this.#spare = correlated
    await Promise.allSettled(calls)
  }

  /** The traces are stored: in 'open' mode their keys go, unless another trace owns them by now. */
  async stored(traceIds: ReadonlyMap<string, string>): Promise<void> {
    if (this.keep === 'hour') return
    await Promise.allSettled(
      [...traceIds].map(([executionId, traceId]) =>
        dropScript.run(this.#redis, [correlationKey(executionId, this.#namespace)], [traceId]),
      ),
    )
  }
}

const argument = (value: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${value.length}\r\n`), Buffer.from(value), CRLF])
