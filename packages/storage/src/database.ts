import { InvalidInputError } from '@stepwell/protocol'
import { CompiledQuery, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import * as z from 'zod'
import type { Tables } from './tables.ts'

/** How to reach Postgres: a connection string, the options of `pg`, or a pool of the caller's, which is never closed here. */
export type DatabaseConfig = string | pg.PoolConfig | pg.Pool

/** A connection to Postgres and where our tables lie in it. */
export interface Database {
  db: Kysely<Tables>
  pool: pg.Pool
  /** The schema that holds the tables; undefined: whatever the search path finds. */
  schema: string | undefined
  /** Closes the pool, unless it was lent. Idempotent. */
  close(): Promise<void>
}

/** What a schema may be called: a plain identifier in lower case, so that it needs no quotes anywhere. */
export const schemaName = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'a schema name is lower-case letters, digits and _, at most 63')

const configSchema = z.union([
  z.string().regex(/^postgres(ql)?:\/\//),
  z.instanceof(pg.Pool),
  z.record(z.string(), z.unknown()),
])

/**
 * Connects lazily: no connection is made before the first query. With `schema` each connection looks there first.
 * Errors of idle connections are dropped by the pool and show at the next query.
 */
export function openDatabase(config: DatabaseConfig, schema?: string): Database {
  if (!configSchema.safeParse(config).success) {
    throw new InvalidInputError(
      'Give the database as a connection string (postgres://user@host:5432/name), as { host, port, database, user, password }, or as a pg Pool',
    )
  }
  if (schema !== undefined && !schemaName.safeParse(schema).success) {
    throw new InvalidInputError(
      `'${schema}' is no usable schema name: lower-case letters, digits and _, at most 63`,
    )
  }
  const lent = config instanceof pg.Pool
  const pool = lent ? config : new pg.Pool(typeof config === 'string' ? { connectionString: config } : config)
  const ignore = (): void => {}
  // Without a listener a connection that breaks while idle would end the process.
  pool.on('error', ignore)
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({
      pool,
      onCreateConnection: async (connection) => {
        if (schema !== undefined)
          await connection.executeQuery(CompiledQuery.raw(`set search_path to ${schema}, public`))
      },
    }),
  })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    pool.off('error', ignore)
    if (lent) return
    // A connection can still break while it is being closed.
    pool.on('error', ignore)
    await db.destroy()
  }
  return {
    db,
    pool,
    schema,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}
