import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below the range that systems take for outgoing connections (Linux from 32768, macOS from 49152): while a server of ours
// is down for a moment, a reconnecting client could otherwise get its port, or even connect to itself.
const LOWEST = 20_000
const HIGHEST = 32_000
const TRIES = 100

/** A port on which nothing listens on loopback, good for a server that comes and goes. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await isFree(port)) return port
  }
  throw new Error(`Found no free port between ${LOWEST} and ${HIGHEST}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
