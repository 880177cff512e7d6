import {
  correlationKey,
  openName,
  openRecords,
  producerOfField,
  shardKeys,
  shardOf,
  traceIdStart,
} from '@stepwell/protocol'
import { type CommandContext, writeLines } from '../command.ts'
import type { Environment } from '../config.ts'
import type { RedisLike } from '../connections.ts'
import { Failure, UsageError } from '../errors.ts'
import { counted } from '../format.ts'

/** Removes a trace, or all of an execution: from Postgres, and what is open of it in Redis if REDIS_URL is set. */
export async function deleteTraces(
  context: CommandContext,
  options: { trace?: string; execution?: string },
): Promise<void> {
  const { trace, execution } = options
  if ((trace === undefined) === (execution === undefined))
    throw new UsageError('say what to delete: --trace <id> or --execution <id>')
  const storage = context.connections.storage()
  const redis = await context.connections.redisIfSet()
  if (redis === undefined)
    context.terminal.note(
      'REDIS_URL is not set: what is on its way through Redis is stored afterwards all the same',
    )
  const known = trace !== undefined ? [trace] : await idsOfExecution(context, redis, execution as string)
  let open = 0
  for (const id of known) if (redis !== undefined && (await forget(redis, context.env, id))) open += 1
  if (redis !== undefined && execution !== undefined)
    await redis.del(correlationKey(execution, context.env.STEPWELL_NAMESPACE))
  const stored =
    trace !== undefined
      ? Number(await storage.deleteTrace(trace))
      : (await storage.deleteExecution(execution as string)).length
  if (stored === 0 && open === 0) {
    throw new Failure(
      trace === undefined
        ? `There is no trace with the execution id '${execution}'`
        : `There is no trace ${trace}`,
    )
  }
  await writeLines(context, [`deleted ${counted(Math.max(stored, open), 'trace')}`])
}

/** Its traces that are stored, and the one that Redis knows of and that may not be. */
async function idsOfExecution(
  { connections, env }: CommandContext,
  redis: RedisLike | undefined,
  execution: string,
): Promise<Set<string>> {
  const ids = new Set<string>()
  for await (const { traceId } of connections
    .primaryQuery()
    .findTraces({ executionId: execution, limit: 1_000 }))
    ids.add(traceId)
  const current = await redis?.get(correlationKey(execution, env.STEPWELL_NAMESPACE))
  if (current) ids.add(current)
  return ids
}

/** Removes the open state of a trace; true if there was any. */
async function forget(redis: RedisLike, env: Environment, traceId: string): Promise<boolean> {
  if (traceIdStart(traceId) === undefined) return false
  const keys = shardKeys(env.STEPWELL_NAMESPACE, shardOf(traceId, env.STEPWELL_SHARDS))
  const name = openName(traceId, 0)
  const text = (await redis.get(keys.open(name))) ?? ''
  const producers = new Set(openRecords(text).map(({ field }) => producerOfField(field)))
  // Together: a worker that adds something in between takes it for known that what has a text is in the index.
  const [[, removed]] = (await redis.multi().del(keys.open(name)).zrem(keys.due, name).exec()) as [
    [null, number],
  ]
  for (const producer of producers) await redis.srem(keys.openBy(producer), name)
  return removed > 0
}
