import { InvalidInputError } from '@stepwell/protocol'
import { Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import pg from 'pg'
import * as z from 'zod'
import { ANSWER_GRACE_MS, limitAnswers } from './answer-timeout.ts'
import { setUpSession } from './own-session.ts'
import type { Tables } from './tables.ts'

/** How to reach Postgres: a connection string, the options of `pg`, or a pool of the caller's, which is never closed here. */
export type DatabaseConfig = string | pg.PoolConfig | pg.Pool

/** A connection to Postgres and where our tables lie in it. */
export interface Database {
  db: Kysely<Tables>
  pool: pg.Pool
  /** A connection of the pool, as `db` has them; to be released. */
  connect(): Promise<pg.PoolClient>
  /** The schema that holds the tables; undefined: whatever the search path finds. */
  schema: string | undefined
  /** Closes the pool, unless it was lent. Idempotent. */
  close(): Promise<void>
}

/** What a schema may be called: a plain identifier in lower case, so that it needs no quotes anywhere. */
export const schemaName = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'a schema name is lower-case letters, digits and _, at most 63')

/** The name of a table of ours in raw SQL, where Kysely does not add the schema. */
export const qualified = (schema: string | undefined, name: string): string =>
  schema === undefined ? name : `${schema}.${name}`

const ignore = (): void => {}

// A pool listens to its idle connections only. One that breaks while it is in use fails its query, and without a listener the
// process too (https://node-postgres.com/apis/pool, "events").
const guarded = new WeakSet<pg.PoolClient>()
const guard = (client: pg.PoolClient): void => {
  if (!guarded.has(client)) client.on('error', ignore)
  guarded.add(client)
}

/** Whether it is a pool. By what it can do, not by instanceof: the caller may have a `pg` of its own. */
export function isPool(config: DatabaseConfig): config is pg.Pool {
  return typeof config === 'object' && config !== null && 'totalCount' in config && 'connect' in config
}

function poolConfig(config: unknown): pg.PoolConfig {
  if (typeof config === 'string' && /^postgres(ql)?:\/\//.test(config)) return { connectionString: config }
  if (typeof config === 'object' && config !== null) return config
  throw new InvalidInputError(
    'Give the database as a connection string (postgres://user@host:5432/name), as { host, port, database, user, password }, or as a pg Pool',
  )
}

/** How long connections of our own wait, so that a server that does not answer, or somebody who keeps a lock, is noticed. */
export interface Patience {
  /** Milliseconds for a connection, a free one of the pool included. */
  connectMs: number
  /** Milliseconds for a lock, unless role or database say otherwise, or a pooler stands between. Then 55P03. Default: for ever. */
  lockMs?: number
  /**
   * Milliseconds for a statement, as for a lock. Then 57014; and where the server stands still and says nothing, five
   * seconds later, ETIMEDOUT. Default: for ever.
   */
  statementMs?: number
}

/** From here on a connection that has been silent is asked whether it is still there. */
const KEEP_ALIVE_MS = 10_000

function ownPool(config: pg.PoolConfig, patience: Patience | undefined): pg.Pool {
  const { connectMs, lockMs, statementMs } = patience ?? {}
  const limits = Object.entries({ lock_timeout: lockMs, statement_timeout: statementMs }).flatMap(
    ([name, ms]) => (ms === undefined ? [] : { name, value: `${ms}ms`, givesWay: true }),
  )
  return new pg.Pool({
    ...(connectMs === undefined
      ? {}
      : {
          connectionTimeoutMillis: connectMs,
          keepAlive: true,
          keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
        }),
    ...config,
    // Not Kysely's onCreateConnection: where that fails it never gives the connection back, and a few outages empty the pool.
    onConnect: async (client) => {
      if (statementMs !== undefined) limitAnswers(client, statementMs + ANSWER_GRACE_MS)
      await config.onConnect?.(client)
      await setUpSession(client, limits)
    },
  })
}

/** A lent pool whose connections are looked at once each: they are their owner's to change, and read otherwise times would be null. */
function readable(pool: pg.Pool): PostgresPool {
  const looked = new WeakSet<pg.PoolClient>()
  return {
    async connect() {
      const client = await pool.connect()
      try {
        if (!looked.has(client)) await refuseOtherDates(client)
        looked.add(client)
        return client
      } catch (error) {
        client.release()
        throw error
      }
    },
    end: () => pool.end(),
    options: pool.options,
  }
}

async function refuseOtherDates(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ DateStyle: string }>('show datestyle')
  const style = String(rows[0]?.DateStyle)
  if (style.startsWith('ISO')) return
  throw new InvalidInputError(
    `The pool's connections write times in the form '${style}', and only ISO can be read: make the pool with options: '-c datestyle=ISO', or give a connection string`,
  )
}

/**
 * Connects lazily: no connection is made before the first query. Statements name the `schema`: the search path is that of whoever else uses a lent
 * pool, or a pooler. InvalidInputError where the DateStyle of a lent pool is not ISO. Without `patience` it waits for ever.
 * Errors of idle connections are dropped by the pool and show at the next query.
 */
export function openDatabase(config: DatabaseConfig, schema?: string, patience?: Patience): Database {
  if (schema !== undefined && !schemaName.safeParse(schema).success) {
    throw new InvalidInputError(
      `'${schema}' is no usable schema name: lower-case letters, digits and _, at most 63`,
    )
  }
  const lent = isPool(config)
  const pool = lent ? config : ownPool(poolConfig(config), patience)
  // Without a listener a connection that breaks while idle would end the process.
  pool.on('error', ignore)
  pool.on('acquire', guard)
  const connections = lent ? readable(pool) : pool
  const plain = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: connections }) })
  const db = schema === undefined ? plain : plain.withSchema(schema)
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    if (!lent) {
      await plain.destroy()
      // Kysely ends it only if it has used it.
      if (!pool.ending) await pool.end()
      return
    }
    pool.off('error', ignore)
    pool.off('acquire', guard)
  }
  return {
    db,
    pool,
    connect: () => connections.connect() as Promise<pg.PoolClient>,
    schema,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}
