import { InvalidInputError } from './errors.ts'

/** A server of a cluster, or a sentinel. */
export interface RedisNode {
  host: string
  port: number
}

/** Who connects and how, as ioredis names it. `tls` is there, and empty, where the URL asks for TLS. */
export interface RedisCredentials {
  username?: string
  password?: string
  tls?: Record<string, never>
}

/** What a Redis URL leads to: one server, a cluster, or the master that sentinels know. Options as ioredis names them. */
export type RedisPlace =
  | { kind: 'single'; url: string }
  | {
      kind: 'cluster'
      nodes: RedisNode[]
      redisOptions: RedisCredentials
      /** With TLS names stay names, for they are what the certificates are for. */
      dnsLookup?: (host: string, done: (error: null, host: string) => void) => void
    }
  | {
      kind: 'sentinel'
      redisOptions: RedisCredentials & {
        sentinels: RedisNode[]
        /** What the sentinels call their master. */
        name: string
        db?: number
        sentinelUsername?: string
        sentinelPassword?: string
        sentinelTLS?: Record<string, never>
        enableTLSForSentinelMode?: true
      }
    }

const FORMS =
  'use redis://host:6379, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master-name (rediss… for TLS)'
const MANY = /^(rediss?)\+(cluster|sentinel):\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/
const HOST = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i
const PORTS = { cluster: 6379, sentinel: 26379 }
const SENTINEL_PARAMETERS = ['sentinelUsername', 'sentinelPassword']

/**
 * Reads a Redis URL: `redis://…` (passed on as it is), `redis+cluster://[user:password@]host:port[,host:port…]` or
 * `redis+sentinel://[user:password@]host:port[,host:port…]/<master name>[/<db>]`, each with TLS as `rediss…`. Sentinels that want a
 * password of their own get it by `?sentinelUsername=…&sentinelPassword=…`. Throws InvalidInputError that says what is wrong, and
 * shows nothing of the URL: it may hold a password.
 */
export function parseRedisUrl(url: string): RedisPlace {
  if (/^rediss?:\/\/./.test(url)) return { kind: 'single', url }
  const match = MANY.exec(url)
  if (match === null) throw new InvalidInputError(`That is no Redis URL: ${FORMS}`)
  const [, scheme, kind, login, hosts = '', path = '', query = ''] = match as unknown as [
    string,
    string,
    'cluster' | 'sentinel',
    ...string[],
  ]
  const nodes = nodesOf(hosts, PORTS[kind])
  const redisOptions: RedisCredentials = { ...loginOf(login), ...(scheme === 'rediss' ? { tls: {} } : {}) }
  const parameters = parametersOf(query, kind === 'sentinel' ? SENTINEL_PARAMETERS : [])
  if (kind === 'cluster') {
    if (path !== '' && path !== '0')
      throw new InvalidInputError('A Redis Cluster has no databases: leave out what follows the hosts')
    if (redisOptions.tls === undefined) return { kind, nodes, redisOptions }
    return { kind, nodes, redisOptions, dnsLookup: (host, done) => done(null, host) }
  }
  const [name = '', db = '0', ...rest] = path.split('/').map(decoded)
  if (name === '')
    throw new InvalidInputError(
      'A Redis URL with sentinels ends with the name of their master: redis+sentinel://host:port/mymaster',
    )
  if (!/^\d{1,5}$/.test(db) || rest.length > 0)
    throw new InvalidInputError("After the master's name a Redis URL has nothing but a database's number")
  const tls =
    redisOptions.tls === undefined ? {} : ({ sentinelTLS: {}, enableTLSForSentinelMode: true } as const)
  return {
    kind,
    redisOptions: { ...redisOptions, ...parameters, ...tls, sentinels: nodes, name, db: Number(db) },
  }
}

/** The hosts that a Redis URL names, for messages: never its password. */
export function redisHosts(place: RedisPlace): string {
  if (place.kind !== 'single') {
    const nodes = place.kind === 'cluster' ? place.nodes : place.redisOptions.sentinels
    return nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(', ')
  }
  try {
    const { hostname, port } = new URL(place.url)
    return `${hostname || 'localhost'}:${port || 6379}`
  } catch {
    return 'the host of its URL'
  }
}

function nodesOf(hosts: string, standardPort: number): RedisNode[] {
  return hosts.split(',').map((text, i) => {
    const match = HOST.exec(text)
    const port = Number(match?.[3] ?? standardPort)
    if (match === null || port < 1 || port > 65_535)
      throw new InvalidInputError(`Host ${i + 1} of the Redis URL is not host:port: ${FORMS}`)
    return { host: (match[1] ?? match[2]) as string, port }
  })
}

function loginOf(login: string | undefined): RedisCredentials {
  if (login === undefined) return {}
  const at = login.indexOf(':')
  const username = decoded(at === -1 ? login : login.slice(0, at))
  const password = at === -1 ? '' : decoded(login.slice(at + 1))
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) }
}

function parametersOf(query: string, known: readonly string[]): Record<string, string> {
  const parameters = Object.fromEntries(new URLSearchParams(query))
  for (const name of Object.keys(parameters)) {
    if (known.includes(name)) continue
    throw new InvalidInputError(
      `The Redis URL has a parameter that is not known here${known.length === 0 ? '' : `: known are ${known.join(', ')}`}`,
    )
  }
  return parameters
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new InvalidInputError('User, password and names in a Redis URL are percent-encoded: write % as %25')
  }
}
