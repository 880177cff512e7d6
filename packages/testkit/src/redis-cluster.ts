// A Redis Cluster on loopback: masters first, then as many replicas, each a server of its own. It is set up by commands, as
// redis-cli does it (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/), for only redis-server need be there.
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { startRedis } from './redis-server.ts'
import type { PrivateServer } from './service.ts'
import { waitFor } from './wait-for.ts'

const SLOTS = 16_384
const NODE_TIMEOUT_MS = 1_000

/** A node of a cluster, and a connection to it alone. */
export interface ClusterNode {
  server: PrivateServer
  redis: Redis
  id: string
}

/** A running cluster. `await using` stops it. */
export interface RedisCluster extends AsyncDisposable {
  /** `redis+cluster://…` with all nodes. */
  url: string
  /** The masters of the beginning, each with its replica. */
  masters: ClusterNode[]
  replicas: ClusterNode[]
  /** The master that serves this key now. */
  masterOf(key: string): Promise<ClusterNode>
  /** Moves the slot of this key to another master while it is in use. */
  moveSlot(key: string, to: ClusterNode): Promise<void>
  /** Replies with this error code that the nodes have given so far. */
  errors(code: string): Promise<number>
}

/** Starts masters with a replica each and waits until all of them are in order. Needs Redis 7. */
export async function startRedisCluster(options: { masters?: number } = {}): Promise<RedisCluster> {
  const { masters: count = 3 } = options
  const nodes = await Promise.all(Array.from({ length: 2 * count }, startNode))
  const [masters, replicas] = [nodes.slice(0, count), nodes.slice(count)]
  const stop = async (): Promise<void> => {
    for (const { redis } of nodes) redis.disconnect()
    await Promise.all(nodes.map(({ server }) => server.stop()))
  }
  try {
    await join(masters, replicas)
  } catch (error) {
    await stop()
    throw error
  }
  const masterOf = async (key: string): Promise<ClusterNode> => {
    const slot = Number(
      await masters[0]?.redis.cluster('KEYSLOT', key).catch(() => replicas[0]?.redis.cluster('KEYSLOT', key)),
    )
    for (const node of nodes) {
      const ranges = await node.redis.cluster('SLOTS').catch(() => [])
      const range = (ranges as [number, number, [string, number]][]).find(
        ([from, to]) => from <= slot && slot <= to,
      )
      const master = nodes.find(({ server }) => server.port === range?.[2][1])
      if (master !== undefined) return master
    }
    throw new Error(`No node serves slot ${slot}`)
  }
  return {
    url: `redis+cluster://${nodes.map(({ server }) => `127.0.0.1:${server.port}`).join(',')}`,
    masters,
    replicas,
    masterOf,
    async moveSlot(key, to) {
      const from = await masterOf(key)
      const slot = Number(await from.redis.cluster('KEYSLOT', key))
      await to.redis.cluster('SETSLOT', slot, 'IMPORTING', from.id)
      await from.redis.cluster('SETSLOT', slot, 'MIGRATING', to.id)
      for (;;) {
        const keys = (await from.redis.cluster('GETKEYSINSLOT', slot, 10)) as string[]
        if (keys.length === 0) break
        await from.redis.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'KEYS', ...keys)
      }
      // The new one first: else a moment would come in which nobody serves the slot.
      for (const node of [to, from]) await node.redis.cluster('SETSLOT', slot, 'NODE', to.id)
    },
    async errors(code) {
      const infos = await Promise.all(nodes.map(({ redis }) => redis.info('errorstats').catch(() => '')))
      const counts = infos.map((info) => new RegExp(`errorstat_${code}:count=(\\d+)`).exec(info)?.[1])
      return counts.reduce((sum, one) => sum + Number(one ?? 0), 0)
    },
    [Symbol.asyncDispose]: stop,
  }
}

async function startNode(): Promise<ClusterNode> {
  const bus = String(await freePort())
  const settings = [
    '--cluster-enabled',
    'yes',
    '--cluster-port',
    bus,
    '--cluster-config-file',
    'nodes.conf',
    '--shutdown-timeout',
    '0',
  ]
  const server = await startRedis({
    appendonly: true,
    args: [
      ...settings,
      '--cluster-node-timeout',
      String(NODE_TIMEOUT_MS),
      '--cluster-replica-validity-factor',
      '0',
    ],
  })
  const redis = new Redis(server.url, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: true,
    retryStrategy: () => 100,
  })
  redis.on('error', () => {})
  return { server, redis, id: String(await redis.cluster('MYID')) }
}

async function join(masters: ClusterNode[], replicas: ClusterNode[]): Promise<void> {
  const nodes = [...masters, ...replicas]
  const [first] = nodes as [ClusterNode]
  for (const [i, { redis }] of nodes.entries()) await redis.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
  for (const [i, { redis }] of masters.entries()) {
    const from = Math.floor((SLOTS * i) / masters.length)
    const to = Math.floor((SLOTS * (i + 1)) / masters.length) - 1
    await redis.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
  }
  const bus = await busPort(first)
  for (const { redis } of nodes.slice(1))
    await redis.call('CLUSTER', 'MEET', '127.0.0.1', first.server.port, bus)
  const known = async ({ redis }: ClusterNode): Promise<number> =>
    ((await redis.cluster('NODES')) as string).split('\n').filter((line) => /connected/.test(line)).length
  await waitFor(async () => (await Promise.all(nodes.map(known))).every((count) => count === nodes.length), {
    what: 'all nodes know each other',
  })
  for (const [i, { redis }] of replicas.entries())
    await redis.cluster('REPLICATE', (masters[i] as ClusterNode).id)
  const inOrder = async (node: ClusterNode): Promise<boolean> => {
    const state = /cluster_state:ok/.test(await node.redis.cluster('INFO'))
    return state && /master_link_status:up|connected_slaves:1/.test(await node.redis.info('replication'))
  }
  await waitFor(async () => (await Promise.all(nodes.map(inOrder))).every(Boolean), {
    what: 'the cluster is in order',
  })
}

async function busPort({ redis }: ClusterNode): Promise<number> {
  const [, port] = (await redis.config('GET', 'cluster-port')) as [string, string]
  return Number(port)
}

/** Resolves when the replicas of this master have all that it has written by now. */
export async function replicated({ redis }: { redis: Redis }): Promise<void> {
  const offsets = async (): Promise<[own: number, theirs: number]> => {
    const info = await redis.info('replication')
    return [
      Number(/master_repl_offset:(\d+)/.exec(info)?.[1]),
      Number(/slave0:.*offset=(\d+)/.exec(info)?.[1]),
    ]
  }
  const [written] = await offsets()
  await waitFor(async () => (await offsets())[1] >= written, { what: 'the replica has it all' })
}
