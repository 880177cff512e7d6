import { type Delta, fieldOfDelta, producerOfField } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'
import type { Shard } from './shard.ts'

/**
 * The open state of traces, in Redis: each trace a hash of its deltas by (producer, frame), and an index of when to look
 * at which next. A trace is unseen → open (here) → stored (Postgres):
 *
 *   fold    (fold.ts) puts deltas into the hash and makes the trace due: at its end at once, without a known beginning soon,
 *           else for its next checkpoint
 *   lease   takes due traces; until the lease ends nobody else takes them
 *   settle  after the commit: removes exactly the deltas that were read. What came in between makes the trace due again
 *   postpone  after a checkpoint: removes nothing, due again later
 *   compact   after a checkpoint of a large trace, before it is postponed: leaves only heads of the deltas that were read
 *
 * Each script uses keys of one shard, so one slot of a cluster. Nothing here expires: only storing removes. A full Redis takes no
 * fold, and all the others.
 */

/** An open trace as it was leased. */
export interface Leased {
  trace: string
  /** Milliseconds, clock of Redis: until then it is ours. Settle and postpone check it. */
  leaseUntilMs: number
}

/** Most that one script call settles: half a microsecond a field. */
const SETTLE_MAX_ARGS = 2_000

// KEYS: due. ARGV: most traces, milliseconds of the lease. Returns lease end, then the traces; or the time until the next.
const leaseScript = new Script(
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local lease = now + ARGV[2]
for _, trace in ipairs(due) do redis.call('ZADD', KEYS[1], lease, trace) end
if #due > 0 then return {lease, 0, due} end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {0, next[2] and next[2] - now or -1, {}}`,
  { whenFull: true },
)

// KEYS: due, then of each trace its hash and the sets of its producers. ARGV: of each trace its name, milliseconds to stay in the
// index, number of sets, number of fields, and these. Field by field: that there are as many as were read does not say that they are
// those, for who was overtaken settles again.
const settleScript = new Script(
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, at = 2, 1
while ARGV[at] do
  local trace, lingerMs, sets, count, hash = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], KEYS[key]
  local last = at + 3 + count
  for i = at + 4, last, 1000 do redis.call('HDEL', hash, unpack(ARGV, i, math.min(i + 999, last))) end
  for i = key + 1, key + sets do redis.pcall('SREM', KEYS[i], trace) end
  if redis.call('EXISTS', hash) == 1 then redis.call('ZADD', KEYS[1], 'XX', 0, trace)
  elseif lingerMs == '0' then redis.call('ZREM', KEYS[1], trace)
  else redis.call('ZADD', KEYS[1], 'XX', now + lingerMs, trace) end
  key, at = key + 1 + sets, last + 1
end`,
  { whenFull: true },
)

// KEYS: due. ARGV: trace, end of our lease, milliseconds until due, each. An end that came in between has made it due already.
const postponeScript = new Script(
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #ARGV, 3 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or 0) == tonumber(ARGV[i + 1])
  then redis.call('ZADD', KEYS[1], now + ARGV[i + 2], ARGV[i]) end
end`,
  { whenFull: true },
)

// KEYS: hash of the trace, then sets of producers that are not at work in it. ARGV: trace, number of heads, then (field, head) of each,
// then fields to remove. A head only replaces: a field that is gone was settled.
const compactScript = new Script(
  `
local first = 3 + 2 * ARGV[2]
for i = 3, first - 1, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
for i = first, #ARGV, 1000 do redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV))) end
for i = 2, #KEYS do redis.pcall('SREM', KEYS[i], ARGV[1]) end`,
  { whenFull: true },
)

/** Takes at most `count` due traces for `leaseMs`. With none due: the milliseconds until the next is; undefined if none is open. */
export async function lease(
  redis: RedisLike,
  { keys }: Shard,
  count: number,
  leaseMs: number,
): Promise<{ leased: Leased[]; nextInMs: number | undefined }> {
  const [until, next, due] = (await leaseScript.run(redis, [keys.due], [count, leaseMs])) as [
    number,
    number,
    string[],
  ]
  const leased = due.map((trace) => ({ trace, leaseUntilMs: Number(until) }))
  return { leased, nextInMs: Number(next) < 0 ? undefined : Number(next) }
}

/** A trace whose deltas, these, are stored for good. */
export interface Settled {
  trace: string
  /** The fields that were read. */
  fields: readonly string[]
  /**
   * Milliseconds that the trace stays in the index, empty: what still comes meanwhile is then dealt with at once, not at its next
   * checkpoint. 0: none.
   */
  lingerMs: number
}

/** Removes the fields that were read; a trace of which something else has come since is due at once. Idempotent. */
export async function settle(redis: RedisLike, { keys }: Shard, all: readonly Settled[]): Promise<void> {
  for (let from = 0; from < all.length; ) {
    const names = [keys.due]
    const args: (string | number)[] = []
    // At least one, however many fields it has.
    do {
      const { trace, fields, lingerMs } = all[from++] as Settled
      const producers = new Set(fields.map(producerOfField))
      names.push(keys.open(trace))
      for (const producer of producers) names.push(keys.openBy(producer))
      args.push(trace, lingerMs, producers.size, fields.length)
      for (const field of fields) args.push(field)
    } while (from < all.length && args.length < SETTLE_MAX_ARGS)
    await settleScript.run(redis, names, args)
  }
}

/** Takes a trace out of the index whose hash is none: somebody else put something there. */
export async function forget(redis: RedisLike, { keys }: Shard, trace: string): Promise<void> {
  await redis.zrem(keys.due, trace)
}

/** Removes fields from the hash of a trace by their names as text, which need not be the bytes that they consist of. */
export async function removeFields(
  redis: RedisLike,
  { keys }: Shard,
  trace: string,
  names: ReadonlySet<string>,
): Promise<void> {
  const key = keys.open(trace)
  const wanted = (await redis.hkeysBuffer(key)).filter((name) => names.has(name.toString()))
  for (let i = 0; i < wanted.length; i += 1_000) await redis.hdel(key, ...wanted.slice(i, i + 1_000))
}

/** Makes leased traces due again after so many milliseconds each, unless something else has made them due since. */
export async function postpone(
  redis: RedisLike,
  { keys }: Shard,
  all: readonly { leased: Leased; inMs: number }[],
): Promise<void> {
  if (all.length === 0) return
  const args = all.flatMap(({ leased, inMs }) => [leased.trace, leased.leaseUntilMs, Math.ceil(inMs)])
  await postponeScript.run(redis, [keys.due], args)
}

/** A long trace whose deltas, these, are in its row. */
export interface Compacted {
  trace: string
  /** The fields that were read. */
  fields: readonly string[]
  /** What takes the place of some of them. */
  heads: ReadonlyMap<string, Delta>
}

/** Leaves only the heads of the fields that were read. What came in between stays. Idempotent. */
export async function compact(
  redis: RedisLike,
  { keys }: Shard,
  { trace, fields, heads }: Compacted,
): Promise<void> {
  const staying = new Set([...heads.keys()].map(producerOfField))
  const leaving = new Set(fields.map(producerOfField).filter((producer) => !staying.has(producer)))
  const names = [keys.open(trace), ...[...leaving].map((producer) => keys.openBy(producer))]
  const replaced = [...heads].flatMap(([field, head]) => [field, fieldOfDelta(head)])
  const removed = fields.filter((field) => !heads.has(field))
  await compactScript.run(redis, names, [trace, heads.size, ...replaced, ...removed])
}
