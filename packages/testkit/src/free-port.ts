import { randomInt } from 'node:crypto'
import { createServer, type ListenOptions, type Server } from 'node:net'

// Below the range that systems take for outgoing connections (Linux from 32768, macOS from 49152): while a server of ours
// is down for a moment, a reconnecting client could otherwise get its port, or even connect to itself.
const LOWEST = 20_000
const HIGHEST = 32_000
const TRIES = 100
/** So long it may take until a server listens there. */
const RESERVED_MS = 60_000

const given = new Set<number>()

/**
 * A port on which nothing listens on loopback, good for a server that comes and goes. Nobody else is given it for a minute: no two
 * of this process, and on Linux no other process either.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = randomInt(LOWEST, HIGHEST)
    if ((await reserve(port)) && (await isFree(port))) return port
  }
  throw new Error(`Found no free port between ${LOWEST} and ${HIGHEST}`)
}

/** By a name that sockets of a Linux share without a file: it goes with its process at the latest. */
async function reserve(port: number): Promise<boolean> {
  if (given.has(port)) return false
  given.add(port)
  const name = process.platform === 'linux' ? await listen({ path: `\0stepwell-port-${port}` }) : undefined
  const release = (): void => {
    name?.close()
    given.delete(port)
  }
  name?.unref()
  setTimeout(release, RESERVED_MS).unref()
  return process.platform !== 'linux' || name !== undefined
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen({ port, host: '127.0.0.1' })
  if (server === undefined) return false
  await new Promise((resolve) => server.close(resolve))
  return true
}

/** A server that listens there; undefined where somebody else does. */
function listen(where: ListenOptions): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(where, () => resolve(server))
  })
}
