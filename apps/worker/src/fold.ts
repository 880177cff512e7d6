import { DELTA_CUT, recordHead, TOLD_MAX_PRODUCERS } from '@stepwell/protocol'
import { type RedisLike, Script } from './script.ts'
import type { Shard } from './shard.ts'

// Folding: the first step of the open state (open-state.ts), and by far the commonest.

/** What a producer says of a trace, to be folded: a delta, or several that have gathered. */
export interface Fold {
  /** The key of a trace within the open state: its id; for ids that do not tell the start, `<id>@<start>`. */
  trace: string
  producer: string
  /** Of each delta the text of its record (`recordOfDelta`). At least one. */
  texts: readonly string[]
  /** Of each `<producer>:<frame>`: the same for the same delta, however often it is delivered. */
  fields: readonly string[]
  /** Milliseconds from now until a worker should look at it. */
  dueInMs: number
}

/**
 * Deltas to fold that stand in an entry of the stream, where Redis cuts them out by itself: sent back to it they would cost the worker a third of
 * what folding takes, and Redis a quarter. The entry's text MUST have `frameCuts`; the name of each trace is its id.
 */
export interface FoldFromEntry {
  id: string
  producer: string
  field: string
  /** One character for each delta of the entry, in its order. */
  dues: string
}

/** When a delta that is cut out of its entry makes its trace due. */
export const DUE = { now: 'n', soon: 's', checkpoint: 'c', isNotFolded: '-' } as const

/**
 * The same of a delta that says of its producer that it has to do with the trace, if none before did: the beginning, and all of a producer that
 * did not start it. Of the others this is known.
 */
export const joining = (due: string): string => due.toUpperCase()

/** What a producer's latest frame says of it. */
export interface Heard {
  /** When it came, milliseconds by the clock of Redis. */
  ms: number
  /** What the producer has counted (`encodeTold`). */
  told: string
}

/** Most deltas that one script call folds: a call blocks Redis, 1,000 for about 4 ms. */
const FOLD_MAX = 1_000

/**
 * Each time that the deltas of one trace have become larger by this, it is due at once: its checkpoint compacts it. So what a worker loads
 * of a trace is bounded, also of one that never ends. Bytes.
 */
const GROWN_SIZE = 8 << 20

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

// `length`: of the text after `record` was appended to it.
const GROWN = `local function grown(trace, length, record)
  if length >= ${GROWN_SIZE} and length % ${GROWN_SIZE} < #record then redis.call('ZADD', KEYS[1], 'LT', now, trace) end
end`

// KEYS: due, producers, told, then sets of producers, then the text of each trace.
// ARGV: where the trace begins in the name of its key; number of producers, then (producer, ms, what it counted) each; number of
// sets; then groups of traces: place of the producer's set in KEYS, ms until due ('0' for an end), number of traces, the records of each.
// A group goes into set and index in one call each: most of what a script takes are its calls.
// What somebody else put at a key of ours costs what the key was for: at the index everything fails, before anything is written; at
// the text of a trace its deltas are refused, by their place in KEYS; at the others silence is not noticed.
const foldScript = new Script(`
redis.call('ZCARD', KEYS[1])
${HEAR}
${GROWN}
local from, at = tonumber(ARGV[1]), 4 + 3 * ARGV[2]
local refused = {}
local key = 4 + ARGV[at - 1]
while ARGV[at] do
  local set, due, count = KEYS[tonumber(ARGV[at])], ARGV[at + 1], tonumber(ARGV[at + 2])
  local traces, scores = {}, {}
  for i = 1, count do
    local records = ARGV[at + 2 + i]
    local length = redis.pcall('APPEND', KEYS[key], records)
    local trace = string.sub(KEYS[key], from)
    if type(length) ~= 'table' then
      traces[#traces + 1] = trace
      scores[#scores + 1] = now + due
      scores[#scores + 1] = trace
      grown(trace, length, records)
    elseif string.find(length.err, 'WRONGTYPE', 1, true) then refused[#refused + 1] = key
    else return length end
    key = key + 1
  end
  if #traces > 0 then
    redis.pcall('SADD', set, unpack(traces))
    redis.call('ZADD', KEYS[1], due == '0' and 'LT' or 'NX', unpack(scores))
  end
  at = at + 3 + count
end
return refused`)

// KEYS: due, producers, told, stream, then the set of each entry's producer. ARGV: what the names of texts begin with; number of
// producers, then (producer, ms, what it counted) each; milliseconds until due of `soon` and of `checkpoint`; then of each entry its id,
// what its records begin with, and DUE of its deltas. The texts are not named in KEYS: a delta's trace is in it.
// A trace with a text is in the index, and in the set of who began it: the text's length saves two calls for most deltas.
// Returns what it refuses, as pairs: place of the entry, place of the delta; -1 for an entry that is not in the stream any more.
const foldEntriesScript = new Script(`
redis.call('ZCARD', KEYS[1])
${HEAR}
${GROWN}
local find, sub, byte, pcall, format = string.find, string.sub, string.byte, redis.pcall, string.format
local prefix, at = ARGV[1], 3 + 3 * ARGV[2]
local dueAt, sooner = {}, format('%.0f', now)
for due, ms in pairs({ ${DUE.now} = 0, ${DUE.soon} = ARGV[at], ${DUE.checkpoint} = ARGV[at + 1] }) do
  dueAt[byte(due)], dueAt[byte(due:upper())] = format('%.0f', now + ms), format('%.0f', now + ms)
end
at = at + 2
local refused = {}
for place = 0, (#ARGV - at + 1) / 3 - 1 do
  local id, head, dues = ARGV[at + 3 * place], ARGV[at + 3 * place + 1] .. '{', ARGV[at + 3 * place + 2]
  local entry = redis.call('XRANGE', KEYS[4], id, id)[1]
  local text
  for i = 1, entry and #entry[2] or 0, 2 do
    if entry[2][i] == 'd' then text = entry[2][i + 1] break end
  end
  local joined, ends, others, from = {}, {}, {}, 2
  for i = 1, text and #dues or 0 do
    local cut = find(text, '${DELTA_CUT}', from, true)
    local code = byte(dues, i)
    local due = dueAt[code]
    if due then
      local trace, record = sub(text, from + 6, from + 41), head .. sub(text, from + 44, cut or -2)
      local length = pcall('APPEND', prefix .. trace, record)
      if type(length) ~= 'table' then
        local isNew = length == #record
        if isNew or code < 97 then joined[#joined + 1] = trace end
        if due == sooner then
          ends[#ends + 1] = due
          ends[#ends + 1] = trace
        elseif isNew then
          others[#others + 1] = due
          others[#others + 1] = trace
        end
        grown(trace, length, record)
      elseif find(length.err, 'WRONGTYPE', 1, true) then
        refused[#refused + 1] = place
        refused[#refused + 1] = i - 1
      else return length end
    end
    from = cut and cut + 2
  end
  if not text then
    refused[#refused + 1] = place
    refused[#refused + 1] = -1
  end
  if #joined > 0 then pcall('SADD', KEYS[5 + place], unpack(joined)) end
  if #others > 0 then redis.call('ZADD', KEYS[1], 'NX', unpack(others)) end
  if #ends > 0 then redis.call('ZADD', KEYS[1], 'LT', unpack(ends)) end
end
return refused`)

// KEYS and ARGV of HEAR, the first of ARGV being milliseconds; then traces that are due after these, if they are open.
const hearScript = new Script(
  `${HEAR}
for i = 3 + 3 * ARGV[2], #ARGV do redis.call('ZADD', KEYS[1], 'XX', 'LT', now + ARGV[1], ARGV[i]) end`,
  { whenFull: true },
)

const heardArgs = (heard: ReadonlyMap<string, Heard>): (string | number)[] => [
  heard.size,
  ...[...heard].flatMap(([producer, { ms, told }]) => [producer, ms, told]),
]

/**
 * Folds deltas and notes what was last heard of each producer; gives those that cannot be folded, because somebody else put
 * something where the text of their trace is. Idempotent.
 */
export async function fold<F extends Fold>(
  redis: RedisLike,
  { keys }: Shard,
  folds: readonly F[],
  heard: ReadonlyMap<string, Heard>,
): Promise<F[]> {
  const refused: F[] = []
  for (let next = 0; next === 0 || next < folds.length; ) {
    const names = [keys.due, keys.producers, keys.told]
    const args: (string | number)[] = [keys.open('').length + 1, ...(next === 0 ? heardArgs(heard) : [0])]
    const some: F[] = []
    for (let deltas = 0; next < folds.length && deltas < FOLD_MAX; next++) {
      const item = folds[next] as F
      some.push(item)
      deltas += item.texts.length
    }
    const sets = new Map<string, number>()
    for (const { producer } of some)
      if (!sets.has(producer)) sets.set(producer, names.push(keys.openBy(producer)))
    args.push(sets.size)
    const byKey = new Map<number, F>()
    for (const group of Map.groupBy(some, (item) => `${item.producer} ${item.dueInMs}`).values()) {
      const { producer, dueInMs } = group[0] as Fold
      args.push(sets.get(producer) as number, dueInMs, group.length)
      for (const item of group) {
        byKey.set(names.push(keys.open(item.trace)), item)
        args.push(recordsOf(item))
      }
    }
    for (const key of (await foldScript.run(redis, names, args)) as number[])
      refused.push(byKey.get(Number(key)) as F)
    if (folds.length === 0) break
  }
  return refused
}

function recordsOf({ texts, fields }: Fold): string {
  let records = ''
  for (const [i, text] of texts.entries()) records += recordHead(fields[i] as string) + text
  return records
}

/** A delta that was not cut out of its entry. */
export interface RefusedCut<F extends FoldFromEntry> {
  entry: F
  /** Its place in the entry; undefined: none of the entry's deltas, for it is not in the stream any more. */
  place: number | undefined
}

/** As `fold`, of deltas that stand in entries of the stream. Gives also the entries that are not there any more. */
export async function foldFromEntries<F extends FoldFromEntry>(
  redis: RedisLike,
  { keys }: Shard,
  entries: readonly F[],
  heard: ReadonlyMap<string, Heard>,
  dueInMs: { soon: number; checkpoint: number },
): Promise<RefusedCut<F>[]> {
  const refused: RefusedCut<F>[] = []
  const parts = entries.flatMap((entry) => partsOf(entry.dues).map((dues) => ({ entry, dues })))
  for (let next = 0; next < parts.length; ) {
    const names = [keys.due, keys.producers, keys.told, keys.events]
    const args = [keys.open(''), ...(next === 0 ? heardArgs(heard) : [0]), dueInMs.soon, dueInMs.checkpoint]
    const some: F[] = []
    for (let deltas = 0; next < parts.length && deltas < FOLD_MAX; next++) {
      const { entry, dues } = parts[next] as { entry: F; dues: string }
      some.push(entry)
      names.push(keys.openBy(entry.producer))
      args.push(entry.id, recordHead(entry.field), dues)
      deltas += dues.length
    }
    const places = (await foldEntriesScript.run(redis, names, args)) as number[]
    for (let i = 0; i < places.length; i += 2) {
      const place = Number(places[i + 1])
      refused.push({ entry: some[Number(places[i])] as F, place: place < 0 ? undefined : place })
    }
  }
  return refused
}

/** An entry can hold more than one call should fold: in each part the deltas before are passed over. */
function partsOf(dues: string): string[] {
  const parts: string[] = []
  for (let from = 0; from < dues.length; from += FOLD_MAX)
    parts.push(DUE.isNotFolded.repeat(from) + dues.slice(from, from + FOLD_MAX))
  return parts
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
  const names = [keys.due, keys.producers, keys.told]
  await hearScript.run(redis, names, [inMs, ...heardArgs(heard), ...ended])
}
