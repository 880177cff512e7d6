import { type Delta, openName, shardOf } from '@stepwell/protocol'
import type { Database, TraceDeltas } from '@stepwell/storage'
import { sql } from 'kysely'
import { watermarkMs } from './group.ts'
import { type RedisLike, redisCode, Script } from './script.ts'
import { type Shard, wouldHaveHeard } from './shard.ts'
import type { Store } from './store.ts'
import { timeoutOf } from './timeout.ts'

// KEYS: producers. ARGV: producer, when it was last heard of, as it was read. Absence means silence until it speaks again.
const forgetScript = new Script(`
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) == tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[1]) end`)

/** Traces that are made due at a time: 100,000 in one call would block Redis for half a second. */
const DUE_COUNT = 1_000

/**
 * Makes the open traces of producers due that have not been heard of for `silenceMs`, if they could have been; the finalizer then
 * decides whether they have timed out. Returns how many. Idempotent.
 */
export async function sweepSilentProducers(
  redis: RedisLike,
  shard: Shard,
  silenceMs: number,
): Promise<number> {
  const { keys } = shard
  if (!wouldHaveHeard(shard, silenceMs, Date.now())) return 0
  const beforeMs = (await watermarkMs(redis, shard)) - silenceMs
  const silent = await redis.zrangebyscore(keys.producers, '-inf', beforeMs, 'WITHSCORES')
  let traces = 0
  for (let i = 0; i + 1 < silent.length; i += 2) {
    const [producer, heardMs] = [silent[i] as string, silent[i + 1] as string]
    traces += await makeDue(redis, shard, producer)
    await forgetScript.run(redis, [keys.producers], [producer, heardMs])
  }
  return traces
}

async function makeDue(redis: RedisLike, { keys }: Shard, producer: string): Promise<number> {
  let count = 0
  let cursor = '0'
  do {
    let traces: string[]
    try {
      ;[cursor, traces] = await redis.sscan(keys.openBy(producer), cursor, 'COUNT', DUE_COUNT)
    } catch (error) {
      // Somebody else's key by that name: it tells nothing of traces.
      if (redisCode(error) === 'WRONGTYPE') return count
      throw error
    }
    if (traces.length > 0) await redis.zadd(keys.due, 'XX', 'LT', ...traces.flatMap((trace) => [0, trace]))
    count += traces.length
  } while (cursor !== '0')
  return count
}

/** A running row is looked for in Redis when nothing has stored it for this long: longer than any checkpoint takes. */
export const LOST_AFTER_MS = 1_200_000
const LOOK_COUNT = 1_000
/** Rows that are ended in one write, by their steps, so that memory holds no more. */
const WRITE_MAX_STEPS = 100_000

interface Candidate {
  trace_id: string
  started_at: Date
  /** With all its microseconds. */
  started_text: string
  step_count: number
}

/**
 * Ends running rows whose open state is gone, as a loss of Redis leaves them: they get the timeout that silence would have
 * given them. Returns how many. Idempotent; a real end that still comes takes over. Looks at all of them: those that are
 * open and quiet, and there may be many, are no reason not to come to the others.
 */
export async function sweepLostTraces(
  redis: RedisLike,
  database: Database,
  store: Store,
  shards: readonly Shard[],
  options: { silenceMs: number; nowMs: number; lostAfterMs?: number },
): Promise<number> {
  const { nowMs, silenceMs, lostAfterMs = LOST_AFTER_MS } = options
  let ended = 0
  let after: Candidate | undefined
  do {
    const rows = await candidates(database, new Date(nowMs - lostAfterMs), after)
    after = rows.length < LOOK_COUNT ? undefined : rows.at(-1)
    let batch: TraceDeltas[] = []
    let steps = 0
    const write = async (): Promise<void> => {
      if (batch.length === 0) return
      const { written } = await store.write(batch)
      ended += written.filter(({ state }) => state.end !== null).length
      batch = []
      steps = 0
    }
    for (const row of await withoutOpenState(redis, shards, rows)) {
      if (steps + row.step_count > WRITE_MAX_STEPS) await write()
      batch.push(timedOut(row, silenceMs, nowMs))
      steps += row.step_count
    }
    await write()
  } while (after !== undefined)
  return ended
}

async function candidates(
  { db, schema }: Database,
  before: Date,
  after: Candidate | undefined,
): Promise<Candidate[]> {
  const table = sql.table(schema === undefined ? 'execution_traces' : `${schema}.execution_traces`)
  const next =
    after === undefined
      ? sql``
      : sql`and (started_at, trace_id) > (${after.started_text}::timestamptz, ${after.trace_id}::uuid)`
  const { rows } = await sql<Candidate>`
    select trace_id, started_at, started_at::text as started_text, step_count
      from ${table}
     where status = 'running' and merge_state ->> 'held' is null and ingested_at < ${before} ${next}
     order by started_at, trace_id limit ${LOOK_COUNT}`.execute(db)
  return rows
}

async function withoutOpenState(
  redis: RedisLike,
  shards: readonly Shard[],
  rows: readonly Candidate[],
): Promise<Candidate[]> {
  const lost: Candidate[] = []
  for (const [index, some] of Map.groupBy(rows, (row) => shardOf(row.trace_id, shards.length))) {
    const names = some.map((row) => openName(row.trace_id, row.started_at.getTime()))
    const scores = await redis.zmscore((shards[index] as Shard).keys.due, ...names)
    lost.push(...some.filter((_, i) => scores[i] === null))
  }
  return lost
}

/** Says nothing of the trace but, when its row is read, that it has timed out. */
function timedOut({ trace_id, started_at }: Candidate, silenceMs: number, nowMs: number): TraceDeltas {
  const startedAtMs = started_at.getTime()
  const delta: Delta = { t: trace_id, at: startedAtMs, n: [0, 0] }
  return {
    traceId: trace_id,
    startedAtMs,
    said: [{ producer: '', delta }],
    known: true,
    amend: (state) => timeoutOf(state, silenceMs, nowMs),
  }
}
