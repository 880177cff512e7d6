import {
  entryEquation,
  GROUP,
  producerTotals,
  replyFields,
  shardKeys,
  unreadEntries,
} from '@stepwell/protocol'
import type { ChainableCommander, Redis } from 'ioredis'
import type { Environment } from '../config.ts'
import type { RedisLike } from '../connections.ts'
import { counted, durationText, sizeText } from '../format.ts'
import { type Check, judged } from './check.ts'
import { checkKeys } from './key-checks.ts'

/** A worker that has not asked for this long is not there: it asks every five seconds, whatever happens. */
const WORKER_IDLE_MAX_MS = 30_000
const OLD_PENDING_MS = 60_000
const LAG_HIGH = 10_000

/** Looks at Redis, and at what is in flight in it. Rejects where Redis does not answer. */
export async function checkRedis(redis: RedisLike, env: Environment): Promise<Check[]> {
  const servers = 'nodes' in redis ? redis.nodes('master') : [redis]
  const infos = await Promise.all(servers.map(async (server) => parseInfo(await server.info())))
  const checks = infos.flatMap((info, i) => {
    const { host, port } = (servers[i] as Redis).options
    const where = servers.length === 1 ? '' : ` ${host}:${port}`
    return checkServer(info).map((check) => ({ ...check, name: check.name + where }))
  })
  const keys = await checkKeys(redis, env)
  checks.push(keys)
  // What cannot be read says nothing more.
  if (keys.status !== 'ok') return checks
  const indexes = Array.from({ length: env.STEPWELL_SHARDS }, (_, shard) => shard)
  const shards = await Promise.all(indexes.map((shard) => checkShard(redis, env, shard)))
  const told = await Promise.all(
    indexes.map((shard) => redis.hgetall(shardKeys(env.STEPWELL_NAMESPACE, shard).told)),
  )
  return [...checks, ...shards.flat(), ...checkProducers(told)]
}

/** Looks at what a server tells of itself (INFO). */
export function checkServer(info: ReadonlyMap<string, string>): Check[] {
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const policy = info.get('maxmemory_policy') ?? 'unknown'
  const used = Number(info.get('used_memory') ?? 0)
  const most = Number(info.get('maxmemory') ?? 0)
  const role = info.get('role') ?? 'unknown'
  return [
    judged(
      'redis',
      'version',
      version,
      major > 6 || (major === 6 && minor >= 2),
      'fail',
      'use Redis 6.2 or newer, or Valkey',
    ),
    judged(
      'redis',
      'eviction',
      policy,
      policy === 'noeviction',
      'fail',
      'set maxmemory-policy noeviction: any other throws open traces away when memory is short',
    ),
    judged(
      'redis',
      'writable',
      role === 'master' ? 'yes' : `no, its role is ${role}`,
      role === 'master',
      'fail',
      'let REDIS_URL point to the master, or to the sentinels that know it',
    ),
    persistenceCheck(info),
    judged(
      'redis',
      'memory',
      most === 0 ? `${sizeText(used)} used, no limit` : `${sizeText(used)} of ${sizeText(most)} used`,
      most === 0 || used < 0.8 * most,
      used < most ? 'warn' : 'fail',
      'give Redis more memory, or add workers: when it is full producers drop what does not fit',
    ),
  ]
}

function persistenceCheck(info: ReadonlyMap<string, string>): Check {
  const name = 'persistence'
  // While these fail, Redis may refuse every write (MISCONF).
  const broken =
    info.get('aof_last_write_status') === 'err'
      ? 'the append-only file cannot be written'
      : info.get('rdb_last_bgsave_status') === 'err'
        ? 'the last snapshot has failed'
        : undefined
  if (broken !== undefined)
    return judged('redis', name, broken, false, 'fail', 'look at the log of Redis, and at its disk')
  const aof = info.get('aof_enabled') === '1'
  return judged(
    'redis',
    name,
    aof ? 'append-only file' : 'no append-only file',
    aof,
    'warn',
    'set appendonly yes: what is in flight is lost with Redis otherwise',
  )
}

async function checkShard(redis: RedisLike, env: Environment, shard: number): Promise<Check[]> {
  const { events, counts, due } = shardKeys(env.STEPWELL_NAMESPACE, shard)
  const where = env.STEPWELL_SHARDS === 1 ? '' : ` ${shard}`
  const ask = (all: ChainableCommander) =>
    all.xinfo('STREAM', events).xinfo('GROUPS', events).hgetall(counts).zcard(due).time().exec()
  // One transaction: the numbers belong together.
  const replies = await ask(redis.multi()).catch((error: Error) => {
    // A full Redis takes no MULTI. What comes in one piece it answers in one go all the same, as a rule.
    if (/^EXECABORT\b/.test(error.message)) return ask(redis.pipeline())
    throw error
  })
  const [stream, groups, acked, open, time] = (replies ?? []).map(([error, value]) =>
    error ? undefined : value,
  )
  const group = ((groups as unknown[] | undefined) ?? [])
    .map(replyFields)
    .find((one) => one.get('name') === GROUP)
  if (stream === undefined || group === undefined) {
    return [
      judged(
        'workers',
        `group${where}`,
        'nothing has read this stream yet',
        false,
        'fail',
        'start a worker: stepwell-worker',
      ),
    ]
  }
  const consumers = ((await redis.xinfo('CONSUMERS', events, GROUP)) as unknown[]).map(replyFields)
  const alive = consumers.filter((one) => Number(one.get('idle')) < WORKER_IDLE_MAX_MS).length
  const pending = Number(group.get('pending'))
  const unread = unreadEntries(group, replyFields(stream))
  const [oldest] = pending === 0 ? [] : ((await redis.xpending(events, GROUP, '-', '+', 1)) as [string][])
  const [seconds, micros] = time as [string, string]
  const nowMs = Number(seconds) * 1_000 + Number(micros) / 1_000
  const oldestMs = oldest === undefined ? 0 : Math.max(0, nowMs - Number(oldest[0].split('-')[0]))
  const checks = [
    judged(
      'workers',
      `running${where}`,
      counted(alive, 'worker'),
      alive > 0,
      'fail',
      'start a worker: stepwell-worker',
    ),
    judged(
      'workers',
      `backlog${where}`,
      `${unread.toLocaleString('en-US')} unread, ${pending.toLocaleString('en-US')} in work, oldest ${durationText(oldestMs)}`,
      unread < LAG_HIGH && oldestMs < OLD_PENDING_MS,
      'warn',
      'add workers, or look at their logs: they may be waiting for Postgres',
    ),
    judged('workers', `open traces${where}`, Number(open).toLocaleString('en-US'), true, 'warn', ''),
  ]
  const equation = entryEquation({ groups, counts: acked })
  if (equation === undefined) return checks
  const { added, stored, dead, unaccounted } = equation
  const words = `${added} came = ${stored} stored + ${dead} dead + ${equation.pending} in work + ${equation.unread} unread`
  checks.push(
    judged(
      'workers',
      `equation${where}`,
      unaccounted === 0 ? words : `${words} + ${unaccounted} unaccounted for`,
      unaccounted === 0,
      'fail',
      'entries were acked or deleted by somebody else: nothing but workers may use the group or delete from the stream',
    ),
  )
  return checks
}

/** What producers have counted: recorded = sent + given up + not sent when they were last heard. */
function checkProducers(told: readonly Record<string, string>[]): Check[] {
  const { producers, emitted, acked, dropped, held } = producerTotals(told)
  if (producers === 0) return []
  const reasons = Object.entries(dropped)
    .filter(([, events]) => events > 0)
    .map(([reason, events]) => `${events} ${reason}`)
  const given = reasons.length === 0 ? '0 given up' : `${reasons.join(' + ')} given up`
  return [
    judged(
      'workers',
      'producers',
      `${producers} in the last hour: ${emitted} events = ${acked} sent + ${given} + ${held} in or behind their latest frames`,
      reasons.length === 0,
      'warn',
      'producers gave up events: docs of the client say what each reason means; more workers, or a larger buffer',
    ),
  ]
}

/** The fields of a reply to INFO. */
export function parseInfo(text: string): Map<string, string> {
  const info = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const at = line.indexOf(':')
    if (at > 0) info.set(line.slice(0, at), line.slice(at + 1))
  }
  return info
}
