// A proxy between a client and a server, to break what lies between. Per connection: open ⇄ held → half-open → gone. While held no
// byte moves in either direction and no end is passed on, which is what a cut cable looks like to both sides. Half-open is the same
// for good: what is sent is swallowed, as where a router has forgotten the connection.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'redis:': 6379,
  'postgres:': 5432,
  'postgresql:': 5432,
}

/** A proxy on loopback that fails on demand. `await using` closes it. */
export interface FaultProxy extends AsyncDisposable {
  /** The target's URL with host and port of the proxy. */
  url: string
  /** Breaks all connections. New ones are taken as before. */
  cut(): void
  /** Holds back all bytes in both directions; connections stay open, new ones are accepted and held too. */
  pause(): void
  /** Lets held bytes go on; nothing of them is lost. */
  resume(): void
  /** The ports that the server knows its connections by (`addr` in CLIENT LIST of Redis), in the order of their making. */
  ports(): number[]
  /** Makes connections half-open, all or those of these ports: neither side hears of the other any more, and neither is told. New ones are as before. */
  halfOpen(ports?: readonly number[]): void
  /** Whether new connections are closed as soon as they are made. Open ones stay. */
  refuse(on: boolean): void
  /** Breaks all connections and stops to listen. Idempotent. */
  close(): Promise<void>
}

/** Starts a proxy to the server of this URL (redis or postgres). The caller closes it. */
export async function faultProxy(targetUrl: string): Promise<FaultProxy> {
  const target = new URL(targetUrl)
  const port = Number(target.port) || DEFAULT_PORTS[target.protocol]
  if (port === undefined) throw new Error(`No port in ${targetUrl}`)
  const host = target.hostname.replace(/^\[|\]$/g, '')

  const links = new Set<Link>()
  let paused = false
  let refusing = false
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (refusing) {
      client.destroy()
      return
    }
    const link = openLink(client, connect({ host, port, allowHalfOpen: true }), () => links.delete(link))
    links.add(link)
    if (paused) link.hold()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let closed: Promise<unknown> | undefined

  const url = new URL(targetUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  const cut = (): void => {
    for (const link of links) link.cut()
  }
  const close = async (): Promise<void> => {
    closed ??= once(server.close(), 'close')
    cut()
    await closed
  }
  return {
    url: url.href,
    cut,
    pause: () => {
      paused = true
      for (const link of links) link.hold()
    },
    resume: () => {
      paused = false
      for (const link of links) link.release()
    },
    ports: () => [...links].map((link) => link.port()),
    halfOpen: (ports) => {
      for (const link of links) if (ports?.includes(link.port()) ?? true) link.swallow()
    },
    refuse: (on) => {
      refusing = on
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

interface Link {
  /** The port that the server sees; 0 before it is connected. */
  port(): number
  hold(): void
  release(): void
  swallow(): void
  cut(): void
}

function openLink(client: Socket, server: Socket, gone: () => void): Link {
  let state: 'open' | 'held' | 'half-open' = 'open'
  const both = [client, server]
  const cut = (): void => {
    for (const socket of both) socket.destroy()
    gone()
  }
  const join = (): void => {
    client.pipe(server)
    server.pipe(client)
  }
  const part = (): void => {
    client.unpipe(server)
    server.unpipe(client)
  }
  for (const socket of both) {
    socket.setNoDelay(true)
    // The close that follows says the same; without a listener it would end the process.
    socket.on('error', () => {})
    socket.on('close', () => {
      if (state === 'open') cut()
    })
  }
  join()
  return {
    port: () => server.localPort ?? 0,
    cut,
    hold: () => {
      if (state !== 'open') return
      state = 'held'
      part()
    },
    release: () => {
      if (state !== 'held') return
      state = 'open'
      if (both.some((socket) => socket.destroyed)) cut()
      else join()
    },
    swallow: () => {
      state = 'half-open'
      part()
      for (const socket of both) socket.resume()
    },
  }
}
