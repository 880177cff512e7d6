// For test files: what the global setup started. Apart from the main entry, which the demo and the benchmarks use too.
import { inject } from 'vitest'
import { copyTemplate, type TestDatabase } from './create-database.ts'
import type {} from './global-setup.ts'
import { leaseRedisDatabase } from './lease-redis-database.ts'

/**
 * Where the shared Redis and Postgres are, for tests that look at the servers themselves. Use `redisForFile` and
 * `createDatabase` for what a test writes.
 */
export function services(): { redisUrl: string; postgresUrl: string } {
  return { redisUrl: inject('redisUrl'), postgresUrl: inject('databaseTemplate').server }
}

/**
 * Makes a Postgres database for this test file, migrated unless `empty`. Drop it in `afterAll`, after its connections are
 * closed; what is left goes at the end of the run.
 */
export function createDatabase(options: { empty?: boolean } = {}): Promise<TestDatabase> {
  return copyTemplate(inject('databaseTemplate'), options)
}

/** Gives the URL of an empty logical database of the shared Redis, for this test file only. */
export function redisForFile(): Promise<string> {
  return leaseRedisDatabase(inject('redisUrl'))
}
