import {
  assemble,
  openRecords,
  rowOfState,
  saidOfRecord,
  shardKeys,
  shardOf,
  type Trace,
  traceIdStart,
  traceOfRow,
} from '@stepwell/protocol'
import type { Environment } from './config.ts'
import type { RedisLike } from './connections.ts'

// What Redis knows of traces that run: seconds ahead of Postgres, which gets them at their first checkpoint. A worker that is alone
// keeps them to itself for their first two seconds.

/**
 * The open traces as far as the workers have read them, at most `limit`, those first that a worker looks at next. Of a long one that
 * is stored already Redis keeps only the open steps: the others count as missing here.
 */
export async function* openTraces(
  redis: RedisLike,
  env: Environment,
  limit: number,
): AsyncGenerator<Trace, void> {
  let left = limit
  for (let shard = 0; shard < env.STEPWELL_SHARDS && left > 0; shard++) {
    const { due, open } = shardKeys(env.STEPWELL_NAMESPACE, shard)
    for (const name of await redis.zrange(due, '0', String(left - 1))) {
      const trace = traceOfText(name, await redis.get(open(name)))
      if (trace === undefined) continue
      left -= 1
      yield trace
    }
  }
}

/** The open trace with this id, or undefined. Ids that do not tell their start are not found. */
export async function openTrace(
  redis: RedisLike,
  env: Environment,
  traceId: string,
): Promise<Trace | undefined> {
  if (traceIdStart(traceId) === undefined) return undefined
  const { open } = shardKeys(env.STEPWELL_NAMESPACE, shardOf(traceId, env.STEPWELL_SHARDS))
  return traceOfText(traceId, await redis.get(open(traceId)))
}

function traceOfText(name: string, text: string | null): Trace | undefined {
  const said = openRecords(text ?? '').map((record) => saidOfRecord(name, record))
  return said.length === 0 ? undefined : traceOfRow(rowOfState(assemble(said)))
}
