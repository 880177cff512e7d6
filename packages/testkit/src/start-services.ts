import { startPostgresContainer, startRedisContainer } from './containers.ts'
import { startPostgres } from './postgres-server.ts'
import { startRedis } from './redis-server.ts'
import { sweepLeftovers } from './server-folder.ts'
import type { Service } from './service.ts'
import { probePostgres, probeRedis } from './short-connection.ts'

/** What the services are for. */
export interface ServicesOptions {
  /** Whether they write to disk as in production (fsync, append-only file): for the demo and benchmarks. Default no. */
  durable?: boolean
}

/** Redis and Postgres, ready for use. `await using` stops them. */
export interface Services extends AsyncDisposable {
  redis: Service
  postgres: Service
  /** Stops both. Idempotent. */
  stop(): Promise<void>
}

/**
 * Finds or starts Redis and Postgres. For each the first that works:
 *
 * 1. the URL in REDIS_URL or DATABASE_URL: used as it is, never stopped; it must answer
 * 2. a program of this machine: `redis-server` or `valkey-server` on PATH or Debian's package unpacked; the embedded Postgres
 * 3. Docker, by testcontainers; `STEPWELL_SERVICES=docker` takes it at once
 *
 * Throws a sentence that says what to install. Nothing that it starts outlives this process. What earlier ones left behind
 * all the same is swept here first.
 */
export async function startServices(options: ServicesOptions = {}): Promise<Services> {
  const { durable = false } = options
  sweepLeftovers()
  const started = await Promise.allSettled([findRedisService(durable), findPostgresService(durable)])
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((service) => service.status === 'fulfilled' && service.value.stop()))
  }
  const [redis, postgres] = started
  if (redis.status === 'fulfilled' && postgres.status === 'fulfilled') {
    return { redis: redis.value, postgres: postgres.value, stop, [Symbol.asyncDispose]: stop }
  }
  await stop()
  const reasons = started.flatMap((service) =>
    service.status === 'rejected' ? [service.reason as Error] : [],
  )
  throw new Error(reasons.map((reason) => reason.message).join('\n\n'))
}

function findRedisService(durable: boolean): Promise<Service> {
  return firstOf({
    name: 'Redis',
    variable: 'REDIS_URL',
    probe: probeRedis,
    program: () => startRedis({ appendonly: durable }),
    container: () => startRedisContainer(durable),
    advice: 'install one (macOS: brew install redis; Debian: apt-get install redis-server) or start Docker',
  })
}

function findPostgresService(durable: boolean): Promise<Service> {
  return firstOf({
    name: 'Postgres',
    variable: 'DATABASE_URL',
    probe: probePostgres,
    program: () => startPostgres({ durable }),
    container: () => startPostgresContainer(durable),
    advice: 'start Docker (an embedded one exists for macOS and for Linux with glibc, on x64 and arm64)',
  })
}

async function firstOf(source: {
  name: string
  variable: string
  probe(url: string): Promise<void>
  program(): Promise<Service>
  container(): Promise<Service>
  advice: string
}): Promise<Service> {
  const { name, variable } = source
  const url = process.env[variable]
  const dockerOnly = onlyDocker()
  if (url && !dockerOnly) {
    await source.probe(url).catch((error: unknown) => {
      throw new Error(`${variable} is set, but nothing usable answers there: ${(error as Error).message}`)
    })
    return { url, from: variable, stop: async () => {} }
  }
  const ways = dockerOnly ? [source.container] : [source.program, source.container]
  const reasons: string[] = []
  for (const way of ways) {
    try {
      return await way()
    } catch (error) {
      reasons.push((error as Error).message)
    }
  }
  throw new Error(
    `There is no ${name} to use. Set ${variable}, or ${source.advice}.${reasons.map((reason) => `\n- ${reason}`).join('')}`,
  )
}

function onlyDocker(): boolean {
  const wish = process.env.STEPWELL_SERVICES
  if (wish !== undefined && wish !== '' && wish !== 'docker') {
    throw new Error(`STEPWELL_SERVICES is '${wish}'; it can only be 'docker'`)
  }
  return wish === 'docker'
}
