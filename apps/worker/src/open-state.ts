import { type Delta, fieldOfDelta, producerOfField, TOLD_MAX_PRODUCERS } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'
import type { Shard } from './shard.ts'

/**
 * The open state of traces, in Redis: each trace a hash of its deltas by (producer, frame), and an index of when to look
 * at which next. A trace is unseen → open (here) → stored (Postgres):
 *
 *   fold    puts deltas into the hash and makes the trace due: at its end at once, without a known beginning soon,
 *           else for its next checkpoint
 *   lease   takes due traces; until the lease ends nobody else takes them
 *   settle  after the commit: removes exactly the deltas that were read. What came in between makes the trace due again
 *   postpone  after a checkpoint: removes nothing, due again later
 *   compact   after a checkpoint of a large trace, before it is postponed: leaves only heads of the deltas that were read
 *
 * Each script uses keys of one shard, so one slot of a cluster. Nothing here expires: only storing removes. A full Redis takes no
 * fold, and all the others.
 */

/** A delta to fold. */
export interface Fold {
  /** The key of a trace within the open state: its id; for ids that do not tell the start, `<id>@<start>`. */
  trace: string
  producer: string
  /** `<producer>:<frame>`: the same for the same delta, however often it is delivered. */
  field: string
  delta: Delta
  /** Milliseconds from now until a worker should look at it. */
  dueInMs: number
}

/** An open trace as it was leased. */
export interface Leased {
  trace: string
  /** Milliseconds, clock of Redis: until then it is ours. Settle and postpone check it. */
  leaseUntilMs: number
}

/** Most deltas that one script call folds: a call blocks Redis, 1,000 for about 4 ms. */
const FOLD_MAX = 1_000
/** The same for what one script call settles: half a microsecond a field. */
const SETTLE_MAX_ARGS = 2_000

/**
 * Each time that the deltas of one trace have become larger by this, as the latest one lets suppose, it is due at once: its
 * checkpoint compacts it. So what a worker loads of a trace is bounded, also of one that never ends. Bytes of JSON.
 */
const GROWN_SIZE = 8 << 20
/** Smaller deltas come no faster than a producer flushes: there are not too many of them until the next checkpoint. */
const LARGE_SIZE = 512

// KEYS: due, producers, told. ARGV from the second on: number of producers, then (producer, ms, what it counted) each.
const HEAR = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, 2 + 3 * ARGV[2], 3 do
  if redis.pcall('ZADD', KEYS[2], 'GT', 'CH', ARGV[i + 1], ARGV[i]) == 1 and ARGV[i + 2] ~= '' then
    local told = redis.pcall('HLEN', KEYS[3])
    if type(told) == 'number' and (told < ${TOLD_MAX_PRODUCERS} or redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1)
    then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2]) end
  end
end`

// KEYS: due, producers, told, then sets of producers, then the hash of each delta's trace.
// ARGV: where the trace begins in the name of its hash; number of producers, then (producer, ms, what it counted) each; number of
// sets; then groups of deltas: field, place of the producer's set in KEYS, ms until due ('0' for an end), number of deltas, these.
// A group goes into set and index in one call each: most of what a script takes are its calls.
// What somebody else put at a key of ours costs what the key was for: at the index everything fails, before anything is written; at
// the hash of a trace its deltas are refused, by their place in KEYS; at the others silence is not noticed.
const foldScript = new Script(`
redis.call('ZCARD', KEYS[1])
${HEAR}
local from, at = tonumber(ARGV[1]), 4 + 3 * ARGV[2]
local refused = {}
local key = 4 + ARGV[at - 1]
while ARGV[at] do
  local field, set, due, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], tonumber(ARGV[at + 3])
  local traces, scores = {}, {}
  for i = 1, count do
    local hash = KEYS[key]
    local delta = ARGV[at + 3 + i]
    local added = redis.pcall('HSET', hash, field, delta)
    local trace = string.sub(hash, from)
    if type(added) ~= 'table' then
      traces[#traces + 1] = trace
      scores[#scores + 1] = now + due
      scores[#scores + 1] = trace
    elseif string.find(added.err, 'WRONGTYPE', 1, true) then refused[#refused + 1] = key
    else return added end
    if added == 1 and #delta >= ${LARGE_SIZE} then
      local fields, size = redis.call('HLEN', hash), #delta / ${GROWN_SIZE}
      if math.floor(fields * size) > math.floor((fields - 1) * size) then redis.call('ZADD', KEYS[1], 'LT', now, trace) end
    end
    key = key + 1
  end
  if #traces > 0 then
    redis.pcall('SADD', set, unpack(traces))
    redis.call('ZADD', KEYS[1], due == '0' and 'LT' or 'NX', unpack(scores))
  end
  at = at + 4 + count
end
return refused`)

// KEYS and ARGV of HEAR, the first of ARGV being milliseconds; then traces that are due after these, if they are open.
const hearScript = new Script(
  `${HEAR}
for i = 3 + 3 * ARGV[2], #ARGV do redis.call('ZADD', KEYS[1], 'XX', 'LT', now + ARGV[1], ARGV[i]) end`,
  { whenFull: true },
)

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

/** What a producer's latest frame says of it. */
export interface Heard {
  /** When it came, milliseconds by the clock of Redis. */
  ms: number
  /** What the producer has counted (`encodeTold`). */
  told: string
}

/**
 * Folds deltas and notes what was last heard of each producer; gives those deltas that cannot be folded, because somebody else put
 * something where the hash of their trace is. Idempotent.
 */
export async function fold<F extends Fold>(
  redis: RedisLike,
  { keys }: Shard,
  folds: readonly F[],
  heard: ReadonlyMap<string, Heard>,
): Promise<F[]> {
  const refused: F[] = []
  const heardArgs = [...heard].flatMap(([producer, { ms, told }]) => [producer, ms, told])
  for (let from = 0; from === 0 || from < folds.length; from += FOLD_MAX) {
    const some = folds.slice(from, from + FOLD_MAX)
    const names = [keys.due, keys.producers, keys.told]
    const args: (string | number)[] = [keys.open('').length + 1]
    if (from === 0) args.push(heard.size, ...heardArgs)
    else args.push(0)
    const sets = new Map<string, number>()
    for (const { producer } of some)
      if (!sets.has(producer)) sets.set(producer, names.push(keys.openBy(producer)))
    args.push(sets.size)
    // Deltas of a frame have most in common: said once, Redis has a third to read.
    const byKey = new Map<number, F>()
    for (const group of Map.groupBy(some, (item) => `${item.field} ${item.dueInMs}`).values()) {
      const { field, producer, dueInMs } = group[0] as Fold
      args.push(field, sets.get(producer) as number, dueInMs, group.length)
      for (const item of group) {
        byKey.set(names.push(keys.open(item.trace)), item)
        args.push(fieldOfDelta(item.delta))
      }
    }
    for (const key of (await foldScript.run(redis, names, args)) as number[])
      refused.push(byKey.get(Number(key)) as F)
  }
  return refused
}

/**
 * What a full Redis takes of a fold: what was last heard of producers; and of the traces that ended which are open, so that they
 * are looked at in `inMs`. Idempotent.
 */
export async function hear(
  redis: RedisLike,
  { keys }: Shard,
  heard: ReadonlyMap<string, Heard>,
  ended: readonly string[],
  inMs: number,
): Promise<void> {
  const heardArgs = [...heard].flatMap(([producer, { ms, told }]) => [producer, ms, told])
  const names = [keys.due, keys.producers, keys.told]
  await hearScript.run(redis, names, [inMs, heard.size, ...heardArgs, ...ended])
}

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
