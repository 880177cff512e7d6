// A master, a replica and three sentinels on loopback, as https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/ has it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { startLocalServer } from './local-server.ts'
import { findRedis } from './redis-binary.ts'
import { answersPing, startRedis } from './redis-server.ts'
import { makeServerFolder } from './server-folder.ts'
import type { PrivateServer } from './service.ts'
import { withRedis } from './short-connection.ts'
import { waitFor } from './wait-for.ts'

const NAME = 'stepwell'
const QUORUM = 2

/** A master that sentinels watch. `await using` stops all of it. */
export interface WatchedRedis extends AsyncDisposable {
  /** `redis+sentinel://…` with all sentinels. */
  url: string
  /** The servers of the beginning. */
  master: PrivateServer
  replica: PrivateServer
  sentinels: PrivateServer[]
}

/** Starts them and waits until the sentinels know the replica and each other: before that they promote nobody. */
export async function startWatchedRedis(): Promise<WatchedRedis> {
  const running: PrivateServer[] = []
  const started = async (server: Promise<PrivateServer>): Promise<PrivateServer> => {
    running.push(await server)
    return server
  }
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((server) => server.stop()))
  }
  try {
    const master = await started(startRedis({ appendonly: true }))
    const args = ['--replicaof', `127.0.0.1 ${master.port}`]
    const replica = await started(startRedis({ appendonly: true, args }))
    await waitFor(
      () => withRedis(replica.url, async (redis) => /link_status:up/.test(await redis.info('replication'))),
      { what: 'the replica follows' },
    )
    const sentinels: PrivateServer[] = []
    for (let i = 0; i < 3; i++) sentinels.push(await started(startSentinel(master.port)))
    await waitFor(async () => (await Promise.all(sentinels.map(knowsAll))).every(Boolean), {
      what: 'the sentinels know each other',
    })
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
    return {
      url: `redis+sentinel://${hosts}/${NAME}`,
      master,
      replica,
      sentinels,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startSentinel(masterPort: number): Promise<PrivateServer> {
  const port = await freePort()
  const folder = makeServerFolder('redis')
  const file = join(folder, 'sentinel.conf')
  const settings = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} ${QUORUM}`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 3000`,
  ]
  writeFileSync(file, `${settings.join('\n')}\n`)
  return startLocalServer({
    ...findRedis(),
    name: 'Redis Sentinel',
    // It writes what it learns into its file.
    args: [file, '--sentinel'],
    folder,
    workingFolder: folder,
    port,
    url: `redis://127.0.0.1:${port}`,
    stopSignal: 'SIGTERM',
    endSignal: 'SIGKILL',
    isReady: () => answersPing(port),
  })
}

async function knowsAll({ port }: PrivateServer): Promise<boolean> {
  return withRedis(`redis://127.0.0.1:${port}`, async (redis) => {
    const flat = (await redis.call('SENTINEL', 'MASTER', NAME)) as unknown
    const text = JSON.stringify(flat).replaceAll(/[":,{}[\]]+/g, ' ')
    return /num-slaves 1 /.test(text) && /num-other-sentinels 2 /.test(text)
  })
}
