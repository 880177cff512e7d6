import { derive, openName, type Said, shardOf, stateOfRow, type TraceRow } from '@stepwell/protocol'
import type { Database, TraceDeltas } from '@stepwell/storage'
import { sql } from 'kysely'
import { watermarkMs } from './group.ts'
import { type RedisLike, Script } from './script.ts'
import type { Shard } from './shard.ts'
import type { Store } from './store.ts'
import { timeoutOf } from './timeout.ts'

// KEYS: due, the producer's traces, producers. ARGV: producer, when it was last heard of, as it was read.
// Makes its traces due and forgets the producer: absence means silence until it speaks again.
const silenceScript = new Script(`
local heard = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not heard or tonumber(heard) ~= tonumber(ARGV[2]) then return 0 end
local traces = redis.call('SMEMBERS', KEYS[2])
for _, trace in ipairs(traces) do redis.call('ZADD', KEYS[1], 'XX', 'LT', 0, trace) end
redis.call('ZREM', KEYS[3], ARGV[1])
return #traces`)

/**
 * Makes the open traces of producers due that have not been heard of for `silenceMs`; the finalizer then decides whether
 * they have timed out. Returns how many. Idempotent.
 */
export async function sweepSilentProducers(
  redis: RedisLike,
  shard: Shard,
  silenceMs: number,
): Promise<number> {
  const { keys } = shard
  const beforeMs = (await watermarkMs(redis, shard)) - silenceMs
  const silent = await redis.zrangebyscore(keys.producers, '-inf', beforeMs, 'WITHSCORES')
  let traces = 0
  for (let i = 0; i + 1 < silent.length; i += 2) {
    const [producer, heardMs] = [silent[i] as string, silent[i + 1] as string]
    traces += Number(
      await silenceScript.run(redis, [keys.due, keys.openBy(producer), keys.producers], [producer, heardMs]),
    )
  }
  return traces
}

/** A running row is looked for in Redis when nothing has stored it for this long: longer than any checkpoint takes. */
export const LOST_AFTER_MS = 1_200_000
const LOST_COUNT = 500

/**
 * Ends running rows whose open state is gone, as a loss of Redis leaves them: they get the timeout that silence would have
 * given them. Returns how many. Idempotent; a real end that still comes takes over.
 */
export async function sweepLostTraces(
  redis: RedisLike,
  database: Database,
  store: Store,
  shards: readonly Shard[],
  options: { silenceMs: number; nowMs: number; lostAfterMs?: number },
): Promise<number> {
  const { nowMs, silenceMs } = options
  const rows = await database.db
    .selectFrom('execution_traces')
    .select([
      'trace_id',
      'started_at',
      'completed_at',
      'total_duration_ms',
      'step_count',
      'missing_steps',
      'parent_trace_id',
      'root_trace_id',
    ])
    .select([
      'skill_name',
      'status',
      'execution_id',
      'parent_step_id',
      'error_message',
      'steps',
      'metadata',
      'merge_state',
    ])
    .where('status', '=', 'running')
    .where(sql<boolean>`merge_state ->> 'held' is null`)
    .where('ingested_at', '<', new Date(nowMs - (options.lostAfterMs ?? LOST_AFTER_MS)))
    .orderBy('started_at')
    .limit(LOST_COUNT)
    .execute()
  const lost: TraceDeltas[] = []
  for (const row of rows) {
    const startedAtMs = row.started_at.getTime()
    const trace = openName(row.trace_id, startedAtMs)
    const shard = shards[shardOf(row.trace_id, shards.length)] as Shard
    if ((await redis.zscore(shard.keys.due, trace)) !== null) continue
    const state = stateOfRow(row as unknown as TraceRow)
    const said = timeoutOf([], silenceMs, nowMs, state)
    if (said !== undefined && derive(state).status === 'running') {
      lost.push({ traceId: row.trace_id, startedAtMs, said: [said satisfies Said], known: true })
    }
  }
  if (lost.length > 0) await store.write(lost)
  return lost.length
}
