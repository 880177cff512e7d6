import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fileOnPath } from './file-on-path.ts'

// What redis-server needs on Debian beyond what every Debian has.
const DEBIAN_PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1', 'libatomic1']
const APT_TIMEOUT_MS = 120_000

/** The folder for what is fetched once and kept; git does not see it. */
export const CACHE_FOLDER = fileURLToPath(new URL('../../../.cache', import.meta.url))

/** A Redis (or Valkey) program on this machine. */
export interface RedisBinary {
  binary: string
  from: string
  /** What it needs to find its libraries. */
  env?: NodeJS.ProcessEnv
}

/**
 * Finds `redis-server` or `valkey-server` on PATH; else, on a Debian, fetches its redis-server package into the cache folder
 * and unpacks it there: that takes seconds once, needs no root and changes nothing in the system.
 * Throws a sentence that says why there is none.
 */
export function findRedis(cacheFolder = CACHE_FOLDER): RedisBinary {
  const installed = fileOnPath('redis-server') ?? fileOnPath('valkey-server')
  if (installed !== undefined) return { binary: installed, from: installed }
  const unpacked = join(cacheFolder, `redis-debian-${process.arch}`)
  if (!existsSync(unpacked)) fetchDebianPackages(cacheFolder, unpacked)
  const found = redisIn(unpacked)
  const started = spawnSync(found.binary, ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, ...found.env },
  })
  if (started.status !== 0)
    throw new Error(`Debian's redis-server does not run here: ${lastLine(started.stderr)}`)
  return found
}

function redisIn(unpacked: string): RedisBinary {
  const libraries = readdirSync(join(unpacked, 'usr/lib'))
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(unpacked, 'usr/lib', name))
  return {
    binary: join(unpacked, 'usr/bin/redis-server'),
    from: "Debian's redis-server, unpacked in .cache",
    env: { LD_LIBRARY_PATH: libraries.join(delimiter) },
  }
}

function fetchDebianPackages(cacheFolder: string, unpacked: string): void {
  if (fileOnPath('apt-get') === undefined || fileOnPath('dpkg') === undefined) {
    throw new Error('no redis-server or valkey-server on PATH')
  }
  mkdirSync(cacheFolder, { recursive: true })
  // Filled aside and then renamed, so that a half of it is never taken for the whole, nor by another process.
  const aside = mkdtempSync(join(cacheFolder, 'redis-debian-'))
  try {
    download(aside)
    for (const name of readdirSync(aside).filter((file) => file.endsWith('.deb'))) {
      must(spawnSync('dpkg', ['-x', name, '.'], { cwd: aside, encoding: 'utf8' }), `dpkg -x ${name}`)
      rmSync(join(aside, name))
    }
    if (!existsSync(unpacked)) renameSync(aside, unpacked)
  } finally {
    rmSync(aside, { recursive: true, force: true })
  }
}

function download(folder: string): void {
  // The empty sandbox user: apt's own one cannot write into our folder.
  const args = ['-q', '-o', 'APT::Sandbox::User=', 'download', ...DEBIAN_PACKAGES]
  const get = () => spawnSync('apt-get', args, { cwd: folder, encoding: 'utf8', timeout: APT_TIMEOUT_MS })
  const first = get()
  if (first.status === 0) return
  if (process.getuid?.() === 0) spawnSync('apt-get', ['-q', 'update'], { timeout: APT_TIMEOUT_MS })
  must(get(), 'apt-get download redis-server')
}

function must(ended: { status: number | null; stderr: string }, what: string): void {
  if (ended.status !== 0) throw new Error(`${what} failed: ${lastLine(ended.stderr)}`)
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}
