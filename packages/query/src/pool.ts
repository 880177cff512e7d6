import { InvalidInputError } from '@stepwell/protocol'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { type TraceQueryOptions, traceQueryOptions } from './options.ts'
import type { Tables } from './tables.ts'
import { validate } from './validate.ts'

/** How to reach Postgres: a connection string, the options of `pg`, or a pool of the caller's, which is never closed here. */
export type DatabaseConfig = string | pg.PoolConfig | pg.Pool

/** Milliseconds to wait for a connection, unless the configuration says otherwise: `pg` alone waits for ever. */
const CONNECT_TIMEOUT_MS = 10_000

/** A connection to the tables. */
export interface Connection {
  db: Kysely<Tables>
  /** Closes the pool, unless it was lent. Call once. */
  close(): Promise<void>
}

/** Connects lazily: nothing is opened before the first query. */
export function openConnection(config: DatabaseConfig, given: TraceQueryOptions): Connection {
  const options = validate('TraceQuery', traceQueryOptions, given)
  const lent = isPool(config)
  const pool = lent ? config : ownPool(config, options)
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  return {
    db: options.schema === undefined ? kysely : kysely.withSchema(options.schema),
    close: async () => {
      if (!lent) await kysely.destroy()
    },
  }
}

// By what it can do: another copy of `pg` has another class.
function isPool(config: unknown): config is pg.Pool {
  return (
    typeof config === 'object' &&
    config !== null &&
    'totalCount' in config &&
    'connect' in config &&
    typeof config.connect === 'function'
  )
}

function ownPool(config: Exclude<DatabaseConfig, pg.Pool>, options: TraceQueryOptions): pg.Pool {
  const given = typeof config === 'string' ? { connectionString: config } : config
  if (typeof given !== 'object' || given === null || Array.isArray(given) || !isConnectionString(given)) {
    throw new InvalidInputError(
      'TraceQuery: give the database as a connection string (postgres://user@host:5432/name), as { host, port, database, user, password }, or as a pg Pool',
    )
  }
  const pool = new pg.Pool({
    application_name: 'stepwell-query',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // A program that only reads now and then may end while connections idle.
    allowExitOnIdle: true,
    ...given,
    ...limits(given, options),
  })
  // Without a listener a connection that breaks while idle would end the process; the next query tells.
  pool.on('error', () => {})
  return pool
}

const isConnectionString = ({ connectionString }: pg.PoolConfig): boolean =>
  connectionString === undefined ||
  (typeof connectionString === 'string' && /^(postgres(ql)?:\/\/|socket:|\/)./.test(connectionString))

const DEFAULT_STATEMENT_TIMEOUT_MS = 30_000

// What the options say counts over what the configuration of `pg` says, that over the default. No time-out at all is sent
// as nothing: poolers such as PgBouncer refuse the parameter unless they are told to ignore it.
function limits(
  given: pg.PoolConfig,
  { statementTimeoutMs, maxConnections }: TraceQueryOptions,
): pg.PoolConfig {
  const timeout = statementTimeoutMs ?? given.statement_timeout ?? DEFAULT_STATEMENT_TIMEOUT_MS
  return {
    statement_timeout: timeout === 0 ? false : timeout,
    ...(maxConnections === undefined ? {} : { max: maxConnections }),
  }
}
