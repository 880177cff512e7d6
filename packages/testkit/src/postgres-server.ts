import { spawnSync } from 'node:child_process'
import { chownSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { startLocalServer } from './local-server.ts'
import { findPostgres, type PostgresBinaries, type PostgresUser, postgresUser } from './postgres-binaries.ts'
import { makeServerFolder, removeServerFolder } from './server-folder.ts'
import type { PrivateServer } from './service.ts'
import { probePostgres } from './short-connection.ts'

const MAX_CONNECTIONS = 300

/** How a Postgres of one's own is set up. */
export interface PostgresOptions {
  /** Default: a free one. */
  port?: number
  /** Whether a commit survives a power cut, as in production; default no. `kill` loses nothing either way. */
  durable?: boolean
  /** More settings, as in postgresql.conf; they win. */
  settings?: Readonly<Record<string, string>>
}

/** Starts an embedded Postgres on loopback. Throws where it does not run. The caller stops it. */
export function startPostgres(options: PostgresOptions = {}): Promise<PrivateServer> {
  return startOn(options, async ({ data, folder, user, binaries }) => {
    initialize(binaries.initdb, data, folder, user)
  })
}

/** Where a server's files go. */
export interface PostgresFolder {
  folder: string
  data: string
  user: PostgresUser | undefined
  binaries: PostgresBinaries
}

/** Starts a Postgres on a data directory that `prepare` makes; what is in it then belongs to the user that Postgres runs as. */
export async function startOn(
  options: PostgresOptions,
  prepare: (where: PostgresFolder) => Promise<void>,
): Promise<PrivateServer> {
  const port = options.port ?? (await freePort())
  const folder = makeServerFolder('postgres')
  try {
    const user = postgresUser()
    if (user !== undefined) chownSync(folder, user.uid, user.gid)
    const binaries = await findPostgres(folder, user)
    const data = join(folder, 'data')
    await prepare({ folder, data, user, binaries })
    const settings = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      ...postgresSettings(options.durable ?? false),
      ...options.settings,
    }
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`
    return await startLocalServer({
      name: 'Postgres',
      binary: binaries.postgres,
      args: ['-D', data, ...settingArguments(settings)],
      user,
      folder,
      workingFolder: folder,
      port,
      url,
      from: 'embedded Postgres 18',
      // Fast shutdown: it does not wait for clients to leave.
      stopSignal: 'SIGINT',
      endSignal: 'SIGQUIT',
      isReady: () => probePostgres(url).then(() => true),
    })
  } catch (error) {
    removeServerFolder(folder)
    throw error
  }
}

/** What every Postgres for tests is set to, embedded or not. */
export function postgresSettings(durable: boolean): Record<string, string> {
  // Not synchronous_commit: that would lose commits to a mere kill of the process.
  const careless = { fsync: 'off', full_page_writes: 'off' }
  return { max_connections: String(MAX_CONNECTIONS), ...(durable ? {} : careless) }
}

/** Settings as arguments of `postgres`. */
export function settingArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

function initialize(initdb: string, data: string, cwd: string, user: PostgresUser | undefined): void {
  const args = [`--pgdata=${data}`, '--username=postgres', '--auth=trust', '--encoding=UTF8', '--no-locale']
  const quick = ['--no-sync', '--no-instructions']
  const { status, stderr, error } = spawnSync(initdb, [...args, ...quick], { cwd, encoding: 'utf8', ...user })
  if (status !== 0) throw new Error(`initdb failed: ${error?.message ?? stderr.trim()}`)
}
