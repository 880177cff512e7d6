import { realpathSync } from 'node:fs'
import { connect } from 'node:net'
import { freePort } from './free-port.ts'
import { startLocalServer } from './local-server.ts'
import { findRedis } from './redis-binary.ts'
import { makeServerFolder } from './server-folder.ts'
import type { PrivateServer } from './service.ts'

/** As many logical databases as test files may lease at a time. */
export const REDIS_DATABASES = 512

/** How a Redis of one's own is set up. */
export interface RedisOptions {
  /** Default: a free one. */
  port?: number
  /** Where its data lies; kept after `stop`. Default: a temporary folder. */
  dir?: string
  /** Whether each write goes to the append-only file (fsync every second); default no. */
  appendonly?: boolean
  /** When to write snapshots, as in redis.conf: `'60 1'`; default never. */
  save?: string
  /** As in redis.conf: `'32mb'`; default unlimited. The policy is noeviction. */
  maxmemory?: string
  /** More arguments for the command line; they win over all of the above. */
  args?: readonly string[]
}

/** Starts a Redis on loopback from a program of this machine. Throws where there is none. The caller stops it. */
export async function startRedis(options: RedisOptions = {}): Promise<PrivateServer> {
  const { appendonly = false, save = '', maxmemory = '0', args = [] } = options
  const program = findRedis()
  const port = options.port ?? (await freePort())
  const folder = makeServerFolder('redis')
  const dir = options.dir === undefined ? folder : realpathSync(options.dir)
  return startLocalServer({
    ...program,
    name: 'Redis',
    args: [...settingArguments({ port, dir, appendonly, save, maxmemory }), ...args],
    folder,
    workingFolder: dir,
    port,
    url: `redis://127.0.0.1:${port}`,
    stopSignal: 'SIGTERM',
    endSignal: 'SIGKILL',
    isReady: () => answersPing(port),
  })
}

function settingArguments(set: {
  port: number
  dir: string
  appendonly: boolean
  save: string
  maxmemory: string
}): string[] {
  const settings = {
    bind: '127.0.0.1',
    databases: String(REDIS_DATABASES),
    'maxmemory-policy': 'noeviction',
    ...set,
    port: String(set.port),
    appendonly: set.appendonly ? 'yes' : 'no',
  }
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
}

/** Whether a Redis or a sentinel takes commands there. While it loads its data it accepts connections and answers -LOADING. */
export function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    const answer = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.once('data', (reply) => answer(reply.toString().startsWith('+PONG')))
    socket.once('error', () => answer(false))
    socket.setTimeout(1000, () => answer(false))
  })
}
