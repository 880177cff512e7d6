import { InvalidInputError } from '@stepwell/protocol'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type * as z from 'zod'
import { ANSWER_GRACE_MS, limitAnswers } from './answer-timeout.ts'
import { parseInput, queryOptionsSchema } from './input.ts'
import { setUpSession } from './own-session.ts'
import type { Tables } from './tables.ts'

/** How to reach Postgres: a connection string, the options of `pg`, or a pool of the caller's, which is never closed here. */
export type DatabaseConfig = string | pg.PoolConfig | pg.Pool

/** Where to read, and within which limits. */
export interface QueryOptions {
  /** Postgres schema of the tables. Default: the search path. */
  schema?: string
  /**
   * Milliseconds after which the server gives a query up (SQLSTATE 57014); 0: never. Not for a lent pool. Default: 30,000, unless URL, role or
   * database say otherwise. Behind a pooler (PgBouncer) role or database have to say it. Five seconds later, should the server stand still and
   * say nothing, the connection is given up: the query rejects with code ETIMEDOUT.
   */
  statementTimeoutMs?: number
  /** Most connections at once; not for a lent pool. Default: 10. */
  maxConnections?: number
}

const STATEMENT_TIMEOUT_MS = 30_000
/** `pg` alone waits for ever. */
const CONNECT_TIMEOUT_MS = 10_000

/** A connection for reading. */
export interface ReadDatabase {
  db: Kysely<Tables>
  close(): Promise<void>
}

/** Connects lazily. An idle pool does not keep the process alive. Throws InvalidInputError. */
export function openForReading(config: DatabaseConfig, given: QueryOptions): ReadDatabase {
  const options = parseInput(queryOptionsSchema, given, 'options')
  const isLent = isPool(config)
  const pool = isLent ? config : ownPool(poolConfig(config), options)
  // Without a listener a connection that breaks while idle would end the process.
  pool.on('error', ignore)
  pool.on('acquire', guard)
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  let closing: Promise<void> | undefined
  return {
    // Tables are named with their schema: setting the search path would change a lent connection for its owner too.
    db: options.schema === undefined ? db : db.withSchema(options.schema),
    close() {
      if (isLent) pool.off('error', ignore).off('acquire', guard)
      else closing ??= db.destroy()
      return closing ?? Promise.resolve()
    },
  }
}

const ignore = (): void => {}

// A pool listens to its idle connections only. One that breaks while it is in use fails its query, and without a listener the
// process too (https://node-postgres.com/apis/pool, "events").
const guarded = new WeakSet<pg.PoolClient>()
const guard = (client: pg.PoolClient): void => {
  if (!guarded.has(client)) client.on('error', ignore)
  guarded.add(client)
}

// By what it can do: another copy of `pg` has another class.
function isPool(config: unknown): config is pg.Pool {
  return typeof config === 'object' && config !== null && 'totalCount' in config && 'connect' in config
}

function poolConfig(config: unknown): pg.PoolConfig {
  if (typeof config === 'string' && /^postgres(ql)?:\/\//.test(config)) return { connectionString: config }
  if (typeof config === 'object' && config !== null) return config
  throw new InvalidInputError(
    'Give the database as a connection string (postgres://user@host:5432/name), as { host, port, database, user, password }, or as a pg Pool',
  )
}

// What our options say counts over what the configuration of `pg` says, that over the defaults.
function ownPool(
  config: pg.PoolConfig,
  { statementTimeoutMs, maxConnections }: z.output<typeof queryOptionsSchema>,
): pg.Pool {
  const { statement_timeout: configuredMs, ...rest } = config
  const givenMs = statementTimeoutMs ?? configuredMs
  const timeoutMs = givenMs ?? STATEMENT_TIMEOUT_MS
  // Not by the parameter of a connection that `pg` has for it: PgBouncer refuses that.
  const limit = {
    name: 'statement_timeout',
    value: `${Number(timeoutMs)}ms`,
    givesWay: givenMs === undefined,
  }
  return new pg.Pool({
    allowExitOnIdle: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    ...rest,
    ...(maxConnections === undefined ? {} : { max: maxConnections }),
    onConnect: async (client) => {
      if (timeoutMs) limitAnswers(client, timeoutMs + ANSWER_GRACE_MS)
      await config.onConnect?.(client)
      await setUpSession(client, [limit])
    },
  })
}
