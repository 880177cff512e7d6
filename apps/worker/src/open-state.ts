import { type Delta, producerOfField, TOLD_MAX_PRODUCERS } from '@stepwell/protocol'
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
 *
 * Each script uses keys of one shard, so one slot of a cluster. Nothing here expires: only storing removes.
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

// KEYS: due, producers, told, then sets of producers, then the hash of each delta's trace.
// ARGV: where the trace begins in the name of its hash; number of producers, then (producer, ms, what it counted) each; number of
// sets; then groups of deltas: field, place of the producer's set in KEYS, whether it may not have the trace, ms until due ('0' for
// an end), number of deltas, and these.
// A later delta of a trace that is open needs neither set nor index: HLEN tells at a third of what writing them takes.
const foldScript = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local from, at = tonumber(ARGV[1]), 4 + 3 * ARGV[2]
for i = 3, at - 2, 3 do
  if redis.call('ZADD', KEYS[2], 'GT', 'CH', ARGV[i + 1], ARGV[i]) == 1 and ARGV[i + 2] ~= ''
    and (redis.call('HLEN', KEYS[3]) < ${TOLD_MAX_PRODUCERS} or redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1)
  then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2]) end
end
local key = 4 + ARGV[at - 1]
while ARGV[at] do
  local field, by, isNews, due, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2] == '1', ARGV[at + 3], ARGV[at + 4]
  for i = at + 5, at + 4 + count do
    local hash = KEYS[key]
    redis.call('HSET', hash, field, ARGV[i])
    local trace = string.sub(hash, from)
    local isNew = isNews or redis.call('HLEN', hash) == 1
    if isNew then redis.call('SADD', by, trace) end
    if due == '0' then redis.call('ZADD', KEYS[1], 'LT', now, trace)
    elseif isNew then redis.call('ZADD', KEYS[1], 'NX', now + due, trace) end
    key = key + 1
  end
  at = at + 5 + count
end
return now`)

// KEYS: due. ARGV: most traces, milliseconds of the lease. Returns lease end, then the traces; or the time until the next.
const leaseScript = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local lease = now + ARGV[2]
for _, trace in ipairs(due) do redis.call('ZADD', KEYS[1], lease, trace) end
if #due > 0 then return {lease, 0, due} end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {0, next[2] and next[2] - now or -1, {}}`)

// KEYS: due, hash of the trace, then sets of producers. ARGV: trace, milliseconds to stay in the index, then fields.
// Field by field: that there are as many as were read does not say that they are those, for who was overtaken settles again.
const settleScript = new Script(`
for i = 3, #ARGV, 1000 do redis.call('HDEL', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV))) end
for i = 3, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end
if redis.call('HLEN', KEYS[2]) == 0 then
  if ARGV[2] == '0' then redis.call('ZREM', KEYS[1], ARGV[1])
  else
    local time = redis.call('TIME')
    redis.call('ZADD', KEYS[1], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
  end
  return 1
end
redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
return 0`)

// KEYS: due. ARGV: trace, end of our lease, milliseconds until due. An end that came in between has made it due already.
const postponeScript = new Script(`
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) ~= tonumber(ARGV[2]) then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[1])
return 1`)

/** What a producer's latest frame says of it. */
export interface Heard {
  /** When it came, milliseconds by the clock of Redis. */
  ms: number
  /** What the producer has counted (`encodeTold`). */
  told: string
}

/** Folds deltas and notes what was last heard of each producer. Idempotent. */
export async function fold(
  redis: RedisLike,
  { keys }: Shard,
  folds: readonly Fold[],
  heard: ReadonlyMap<string, Heard>,
): Promise<void> {
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
    const alike = Map.groupBy(some, (item) => `${item.field} ${isNews(item)} ${item.dueInMs}`)
    for (const group of alike.values()) {
      const first = group[0] as Fold
      args.push(first.field, sets.get(first.producer) as number, isNews(first), first.dueInMs, group.length)
      for (const { trace, delta } of group) {
        names.push(keys.open(trace))
        args.push(JSON.stringify(delta))
      }
    }
    await foldScript.run(redis, names, args)
  }
}

/** '1' where the producer may not be known to have a part in the trace: its beginning, and deltas of others than its owner. */
const isNews = ({ delta }: Fold): string => (delta.b === 1 || delta.k === undefined ? '1' : '0')

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

/**
 * Removes the fields that were read; true if nothing else has come since. With `lingerMs` the trace stays in the index that
 * long, empty: what still comes meanwhile is then dealt with at once, not at its next checkpoint. Idempotent.
 */
export async function settle(
  redis: RedisLike,
  { keys }: Shard,
  trace: string,
  fields: readonly string[],
  lingerMs = 0,
): Promise<boolean> {
  const producers = [...new Set(fields.map(producerOfField))]
  const names = [keys.due, keys.open(trace), ...producers.map((producer) => keys.openBy(producer))]
  return (await settleScript.run(redis, names, [trace, lingerMs, ...fields])) === 1
}

/** Makes a leased trace due again after `inMs`, unless something else has made it due since. */
export async function postpone(
  redis: RedisLike,
  { keys }: Shard,
  { trace, leaseUntilMs }: Leased,
  inMs: number,
): Promise<void> {
  await postponeScript.run(redis, [keys.due], [trace, leaseUntilMs, Math.ceil(inMs)])
}
