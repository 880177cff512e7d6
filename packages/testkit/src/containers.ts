import { postgresSettings, settingArguments } from './postgres-server.ts'
import { REDIS_DATABASES } from './redis-server.ts'
import type { Service } from './service.ts'

// The same as in docker-compose.yml.
const REDIS_IMAGE = 'redis:7'
const POSTGRES_IMAGE = 'postgres:18'

// Imported when needed: they bring 200 packages, and only a machine without the programs needs them.

/** Starts Redis in Docker. Throws where there is no Docker or no image. */
export async function startRedisContainer(durable: boolean): Promise<Service> {
  const { GenericContainer } = await import('testcontainers')
  const container = await new GenericContainer(REDIS_IMAGE)
    .withCommand([
      'redis-server',
      ...['--databases', String(REDIS_DATABASES), '--maxmemory-policy', 'noeviction'],
      ...['--save', '', '--appendonly', durable ? 'yes' : 'no'],
      // Else it answers its own loopback only. The official image has it off, others do not.
      ...['--protected-mode', 'no'],
    ])
    .withExposedPorts(6379)
    .start()
  return serviceOf(container, `redis://${container.getHost()}:${container.getMappedPort(6379)}`, REDIS_IMAGE)
}

/** Starts Postgres in Docker. Throws where there is no Docker or no image. */
export async function startPostgresContainer(durable: boolean): Promise<Service> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const container = await new PostgreSqlContainer(POSTGRES_IMAGE)
    .withCommand(['postgres', ...settingArguments(postgresSettings(durable))])
    .start()
  return serviceOf(container, container.getConnectionUri(), POSTGRES_IMAGE)
}

function serviceOf(container: { stop(): Promise<unknown> }, url: string, image: string): Service {
  let stopped: Promise<unknown> | undefined
  return {
    url,
    from: `Docker (${image})`,
    stop: async () => {
      stopped ??= container.stop()
      await stopped
    },
  }
}
