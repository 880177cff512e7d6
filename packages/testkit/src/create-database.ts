import { randomBytes } from 'node:crypto'
import { migrateToLatest } from '@stepwell/storage'
import type { Client } from 'pg'
import { withPostgres } from './short-connection.ts'
import { waitFor } from './wait-for.ts'

/** A Postgres database of one test file. */
export interface TestDatabase {
  url: string
  /** Removes it, whoever is still connected. Idempotent. */
  drop(): Promise<void>
}

/** A migrated database to copy from, and the start of the names of its copies. */
export interface DatabaseTemplate {
  /** Where the server is. */
  server: string
  name: string
  /** All databases of one run start with this. */
  prefix: string
}

/** Brings a database's schema up to date. */
export type Migrate = (options: { connectionString: string }) => Promise<unknown>

/**
 * Makes and migrates the database that those of test files are copied from: migrating takes longer than copying (45 ms).
 * Undone by `dropDatabases`.
 */
export async function createTemplate(
  server: string,
  migrate: Migrate = migrateToLatest,
): Promise<DatabaseTemplate> {
  const prefix = `stepwell_test_${randomBytes(4).toString('hex')}_`
  const template = { server, prefix, name: `${prefix}template` }
  try {
    await withPostgres(server, (client) => client.query(`create database ${template.name}`))
    await migrate({ connectionString: urlOf(server, template.name) })
  } catch (error) {
    await dropDatabases(template)
    throw error
  }
  return template
}

/** Copies the template; with `empty` the database has no tables at all. */
export async function copyTemplate(
  template: DatabaseTemplate,
  options: { empty?: boolean } = {},
): Promise<TestDatabase> {
  const { server, prefix } = template
  const name = prefix + randomBytes(6).toString('hex')
  const source = options.empty ? 'template0' : template.name
  // By file: write-ahead logging every page of the copy, the default, is twice as slow.
  await withPostgres(server, (client) =>
    client.query(`create database ${name} template ${source} strategy file_copy`),
  )
  return {
    url: urlOf(server, name),
    drop: () => withPostgres(server, (client) => dropDatabase(client, name)),
  }
}

/** Removes the template and all copies that are left. */
export async function dropDatabases({ server, prefix }: DatabaseTemplate): Promise<void> {
  await withPostgres(server, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      'select datname from pg_database where starts_with(datname, $1)',
      [prefix],
    )
    for (const { datname } of rows) await dropDatabase(client, datname)
  })
}

/** Connections that are just being closed are let go first: cut off, they would end their process with an error. */
async function dropDatabase(client: Client, name: string): Promise<void> {
  const connected = async (): Promise<number> =>
    (await client.query('select from pg_stat_activity where datname = $1', [name])).rowCount ?? 0
  await waitFor(async () => (await connected()) === 0, { what: 'connections close', timeoutMs: 1_000 }).catch(
    () => {},
  )
  await client.query(`drop database if exists ${name} with (force)`)
}

function urlOf(server: string, database: string): string {
  const url = new URL(server)
  url.pathname = `/${database}`
  return url.href
}
