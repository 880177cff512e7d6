import { producerOfField } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'
import type { Shard } from './shard.ts'

/**
 * The open state of traces, in Redis: each trace a text with a record for each of its deltas, and an index of when to look at which next.
 * Records are only appended, and only what a worker has read is taken away from the front, if it still stands there: so nobody removes
 * what he has not seen (docs/adr/0010-open-state.md). A trace is unseen → open (here) → stored (Postgres):
 *
 *   fold    (fold.ts) appends deltas to the text and makes the trace due: at its end at once, without a known beginning soon,
 *           else for its next checkpoint
 *   lease   takes due traces; until the lease ends nobody else takes them
 *   settle  after the commit: removes exactly the text that was read. What came in between makes the trace due again
 *   postpone  after a checkpoint: removes nothing, due again later
 *   replace   before a trace is postponed: puts something shorter in the place of the text that was read
 *
 * A trace with a text is in the index: the scripts keep it so.
 * Each script uses keys of one shard, so one slot of a cluster. Nothing here expires: only storing removes. A full Redis takes no
 * fold, and all the others.
 */

/** An open trace as it was leased. */
export interface Leased {
  trace: string
  /** Milliseconds, clock of Redis: until then it is ours. Settle and postpone check it. */
  leaseUntilMs: number
  /** Of its text, in bytes; undefined: somebody else put something else there. */
  size: number | undefined
}

/** Most that one script call settles, traces and bytes of text: it blocks Redis for two milliseconds at most. */
const SETTLE_MAX_TRACES = 500
const SETTLE_MAX_SIZE = 1 << 20

// KEYS: due. ARGV: most traces, milliseconds of the lease, what the names of texts begin with. Returns lease end, then the traces and in turn
// the lengths of their texts; or the time until the next.
const leaseScript = new Script(
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local lease, scores, lengths = string.format('%.0f', now + ARGV[2]), {}, {}
for i, trace in ipairs(due) do
  scores[2 * i - 1], scores[2 * i] = lease, trace
  local length = redis.pcall('STRLEN', ARGV[3] .. trace)
  lengths[i] = type(length) == 'number' and length or -1
end
if #due > 0 then
  redis.call('ZADD', KEYS[1], unpack(scores))
  return {now + ARGV[2], 0, due, lengths}
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {0, next[2] and next[2] - now or -1, {}, {}}`,
  { whenFull: true },
)

// KEYS: due, then sets of producers, then the text of each trace. ARGV: number of sets; then of each trace its name, milliseconds to stay in the
// index, what was read, number of sets that it leaves, and their places in KEYS. What was read is compared, not only how much: who was
// overtaken settles again, when something else may stand there.
const settleScript = new Script(
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, at = 2 + ARGV[1], 2
local texts = redis.call('MGET', unpack(KEYS, first))
local empty, gone, again, linger, left = {}, {}, {}, {}, {}
for i, text in ipairs(texts) do
  local trace, lingerMs, read, sets = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if text and text == read then
    empty[#empty + 1], text = KEYS[first + i - 1], false
  elseif text and read ~= '' and string.sub(text, 1, #read) == read then
    redis.call('SET', KEYS[first + i - 1], string.sub(text, #read + 1))
  end
  for k = at + 4, at + 3 + sets do
    local set = tonumber(ARGV[k])
    left[set] = left[set] or {}
    table.insert(left[set], trace)
  end
  if text then
    again[#again + 1], again[#again + 2] = 0, trace
  elseif lingerMs == '0' then gone[#gone + 1] = trace
  else linger[#linger + 1], linger[#linger + 2] = string.format('%.0f', now + lingerMs), trace end
  at = at + 4 + sets
end
if #empty > 0 then redis.call('DEL', unpack(empty)) end
for set, traces in pairs(left) do redis.pcall('SREM', KEYS[set], unpack(traces)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if #again > 0 then redis.call('ZADD', KEYS[1], unpack(again)) end
if #linger > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(linger)) end`,
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

// KEYS: text of the trace, then sets of producers that it leaves. ARGV: trace, what was read, what takes its place. If that is not there
// any more it was settled.
const replaceScript = new Script(
  `
local text, read = redis.call('GET', KEYS[1]), ARGV[2]
if not text or string.sub(text, 1, #read) ~= read then return end
local left = ARGV[3] .. string.sub(text, #read + 1)
if left == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], left) end
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
  const args = [count, leaseMs, keys.open('')]
  const [until, next, due, sizes] = (await leaseScript.run(redis, [keys.due], args)) as [
    number,
    number,
    string[],
    number[],
  ]
  const leased = due.map((trace, i) => {
    const size = Number(sizes[i])
    return { trace, leaseUntilMs: Number(until), size: size < 0 ? undefined : size }
  })
  return { leased, nextInMs: Number(next) < 0 ? undefined : Number(next) }
}

/** A trace whose deltas, these, are stored for good. */
export interface Settled {
  trace: string
  /** The text that was read, byte by byte; empty: there was none. */
  read: string | Buffer
  /** Of its records. */
  fields: readonly string[]
  /**
   * Milliseconds that the trace stays in the index, empty: what still comes meanwhile is then dealt with at once, not at its next
   * checkpoint. 0: none.
   */
  lingerMs: number
}

/** Removes the text that was read; a trace of which something else has come since is due at once. Idempotent. */
export async function settle(redis: RedisLike, { keys }: Shard, all: readonly Settled[]): Promise<void> {
  for (let from = 0; from < all.length; ) {
    const sets = new Map<string, number>()
    const texts: string[] = []
    const args: (string | number | Buffer)[] = []
    // At least one, however long it is.
    for (let size = 0; from < all.length && size < SETTLE_MAX_SIZE && texts.length < SETTLE_MAX_TRACES; ) {
      const { trace, read, fields, lingerMs } = all[from++] as Settled
      const producers = new Set(fields.map(producerOfField))
      texts.push(keys.open(trace))
      args.push(trace, lingerMs, read, producers.size)
      for (const producer of producers) {
        // The index is the first of the keys, and the places count from 1.
        if (!sets.has(producer)) sets.set(producer, sets.size + 2)
        args.push(sets.get(producer) as number)
      }
      size += read.length
    }
    const names = [keys.due, ...[...sets.keys()].map((producer) => keys.openBy(producer)), ...texts]
    await settleScript.run(redis, names, [sets.size, ...args])
  }
}

/** Takes a trace out of the index whose text is none: somebody else put something there. */
export async function forget(redis: RedisLike, { keys }: Shard, trace: string): Promise<void> {
  await redis.zrem(keys.due, trace)
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

/** What is to stand in the place of a trace's text, as it was read. */
export interface Replaced {
  trace: string
  read: string | Buffer
  by: string
  /** Producers that have nothing to do with the trace any more. */
  leaving?: Iterable<string>
}

/** Puts it there, if what was read still is; what came in between stays. Idempotent. */
export async function replace(
  redis: RedisLike,
  { keys }: Shard,
  { trace, read, by, leaving = [] }: Replaced,
): Promise<void> {
  const names = [keys.open(trace), ...[...leaving].map((producer) => keys.openBy(producer))]
  await replaceScript.run(redis, names, [trace, read, by])
}
