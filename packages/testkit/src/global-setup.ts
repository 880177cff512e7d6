// What Vitest runs once around all integration tests: it starts the services and tells the test files where they are.
import type { TestProject } from 'vitest/node'
import { createTemplate, type DatabaseTemplate, dropDatabases } from './create-database.ts'
import { countRedisDatabases } from './lease-redis-database.ts'
import { REDIS_DATABASES } from './redis-server.ts'
import { withRedis } from './short-connection.ts'
import { type Services, startServices } from './start-services.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the Redis of this run. */
    redisUrl: string
    /** The migrated database of this run, and its server. */
    databaseTemplate: DatabaseTemplate
  }
}

let services: Services | undefined
let template: DatabaseTemplate | undefined

/** Starts the services and migrates the template. A missing service fails the run. */
export async function setup(project: TestProject): Promise<void> {
  services = await startServices()
  try {
    template = await createTemplate(services.postgres.url)
    project.provide('redisUrl', services.redis.url)
    project.provide('databaseTemplate', template)
    const databases = await withRedis(services.redis.url, countRedisDatabases)
    const few = databases < REDIS_DATABASES ? ` (${databases} databases: test files take turns)` : ''
    console.log(`Redis: ${services.redis.from}${few}\nPostgres: ${services.postgres.from}`)
  } catch (error) {
    await teardown()
    throw error
  }
}

/** Removes the databases of this run, also those that a test file forgot, and stops what was started. */
export async function teardown(): Promise<void> {
  try {
    if (template !== undefined) await dropDatabases(template)
  } finally {
    await services?.stop()
  }
}
