import { InvalidInputError } from '@stepwell/protocol'
import { CompiledQuery, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Tables } from './tables.ts'

/** How to reach Postgres: a connection string, the options of `pg`, or a pool of the caller's, which is never closed here. */
export type DatabaseConfig = string | pg.PoolConfig | pg.Pool

/** Where to read. */
export interface QueryOptions {
  /** Postgres schema of the tables. Default: the search path. */
  schema?: string
  /** Milliseconds after which the server gives a query up (SQLSTATE 57014); not for a lent pool. Default: 30,000. */
  statementTimeoutMs?: number
}

const STATEMENT_TIMEOUT_MS = 30_000

/** A connection for reading. */
export interface ReadDatabase {
  db: Kysely<Tables>
  close(): Promise<void>
}

/** Connects lazily. An idle pool does not keep the process alive. Throws InvalidInputError. */
export function openForReading(config: DatabaseConfig, options: QueryOptions): ReadDatabase {
  const { schema, statementTimeoutMs = STATEMENT_TIMEOUT_MS } = options
  if (schema !== undefined && !/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) {
    throw new InvalidInputError(
      `'${schema}' is no usable schema name: lower-case letters, digits and _, at most 63`,
    )
  }
  const isLent = config instanceof pg.Pool
  const pool = isLent
    ? config
    : new pg.Pool({ allowExitOnIdle: true, statement_timeout: statementTimeoutMs, ...poolConfig(config) })
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
  return {
    db: schema === undefined ? db : db.withSchema(schema),
    close() {
      if (isLent) pool.off('error', ignore)
      else closing ??= db.destroy()
      return closing ?? Promise.resolve()
    },
  }
}

const ignore = (): void => {}

function poolConfig(config: unknown): pg.PoolConfig {
  if (typeof config === 'string' && /^postgres(ql)?:\/\//.test(config)) return { connectionString: config }
  if (typeof config === 'object' && config !== null) return config
  throw new InvalidInputError(
    'Give the database as a connection string (postgres://user@host:5432/name), as { host, port, database, user, password }, or as a pg Pool',
  )
}
