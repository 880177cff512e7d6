import { CompiledQuery, type Kysely } from 'kysely'
import type { Settings } from './planner-settings.ts'
import type { Tables } from './tables.ts'

/**
 * Reads what is there at one moment, by several statements: a transaction that writes nothing. `settings` hold in it from the beginning, and go with the statement that
 * begins it, so that they take no time of their own. Their names and values MUST be ours: they stand in it as they are.
 */
export function inSnapshot<T>(
  db: Kysely<Tables>,
  settings: Settings,
  read: (snapshot: Kysely<Tables>) => Promise<T>,
): Promise<T> {
  const set = Object.entries(settings).map(([name, value]) => `; set local ${name} = '${value}'`)
  return db.connection().execute(async (connection) => {
    try {
      await connection.executeQuery(
        CompiledQuery.raw(`start transaction isolation level repeatable read read only${set.join('')}`),
      )
      const result = await read(connection)
      await connection.executeQuery(CompiledQuery.raw('commit'))
      return result
    } catch (error) {
      // Where that fails too, the connection is gone, and with it the transaction.
      await connection.executeQuery(CompiledQuery.raw('rollback')).catch(() => {})
      throw error
    }
  })
}
