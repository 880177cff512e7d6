import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

/** What a check found: ok, and what a person should know. */
export interface HealthReport {
  ok: boolean
  [detail: string]: unknown
}

/** The running server. */
export interface HealthServer {
  url: string
  close(): Promise<void>
}

/**
 * Serves GET /live, /ready (200 or 503, with a JSON document) and /metrics (Prometheus text format). Rejects if the port is
 * taken, unless told to find another.
 */
export async function startHealthServer(options: {
  host: string
  port: number
  /** If the port is taken, listen on any free one. */
  orAnyPort?: boolean
  live: () => HealthReport
  ready: () => Promise<HealthReport>
  registry: Registry
  /** Brings up to date what is not counted as it happens; called before the metrics are read. */
  refresh: () => Promise<void>
}): Promise<HealthServer> {
  const server = createServer((request, response) => {
    answer(options, request.url ?? '/', response).catch((error: unknown) => {
      response.writeHead(500).end(`${(error as Error).message}\n`)
    })
  })
  try {
    await listen(server, options.port, options.host)
  } catch (error) {
    if (!options.orAnyPort || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    await listen(server, 0, options.host)
  }
  const { port } = server.address() as AddressInfo
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function answer(
  {
    live,
    ready,
    registry,
    refresh,
  }: {
    live: () => HealthReport
    ready: () => Promise<HealthReport>
    registry: Registry
    refresh: () => Promise<void>
  },
  url: string,
  response: ServerResponse,
): Promise<void> {
  const path = url.split('?')[0]
  if (path === '/metrics') {
    await refresh()
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics())
    return
  }
  const report = path === '/live' ? live() : path === '/ready' ? await ready() : undefined
  if (report === undefined) response.writeHead(404).end('GET /live, /ready or /metrics\n')
  else
    response
      .writeHead(report.ok ? 200 : 503, { 'content-type': 'application/json' })
      .end(`${JSON.stringify(report)}\n`)
}
