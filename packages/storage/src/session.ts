import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { isOwnSession } from './own-session.ts'
import type { Tables } from './tables.ts'

/** Settings of Postgres by name, as `set_config` takes them: `{ lock_timeout: '30000ms' }`. */
export type Settings = Readonly<Record<string, string>>

/**
 * Works on one connection with these settings, which are put back afterwards: for statements that no transaction may be around, so
 * that no `set local` could bound them. On `stop` the statement that runs is cancelled (57014). Behind a pooler it does without: there both
 * would meet others, and the settings are those of role and database.
 */
export async function withSettings<T>(
  database: Database,
  settings: Settings,
  work: (db: Kysely<Tables>) => Promise<T>,
  stop?: AbortSignal,
): Promise<T> {
  const { db } = database
  if (!(await hasOwnSessions(database))) return work(db)
  return db.connection().execute(async (connection) => {
    const names = Object.keys(settings)
    const before = await sql<Record<string, string>>`select pg_backend_pid()::text as pid, ${sql.join(
      names.map((name) => sql`current_setting(${name}) as ${sql.ref(name)}`),
    )}`.execute(connection)
    const { pid, ...old } = before.rows[0] as Record<string, string>
    const set = (values: Settings): Promise<unknown> =>
      sql`select ${sql.join(names.map((name) => sql`set_config(${name}, ${values[name]}, false)`))}`.execute(
        connection,
      )
    const cancel = (): void => {
      sql`select pg_cancel_backend(${pid}::integer)`.execute(db).catch(() => {})
    }
    stop?.addEventListener('abort', cancel)
    try {
      stop?.throwIfAborted()
      await set(settings)
      return await work(connection)
    } finally {
      stop?.removeEventListener('abort', cancel)
      // A connection that is gone has no settings either, and its error is that of the work.
      await set(old).catch(() => {})
    }
  })
}

async function hasOwnSessions({ pool }: Database): Promise<boolean> {
  const client = await pool.connect()
  try {
    const { rows } = await client.query<{ own: boolean }>(`select ${isOwnSession(client)} as own`)
    return rows[0]?.own ?? false
  } finally {
    client.release()
  }
}
