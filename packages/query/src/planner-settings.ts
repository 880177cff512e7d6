import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Tables } from './tables.ts'

/** Settings of Postgres by name, as text. */
export type Settings = Readonly<Record<string, string>>

/** Makes them hold to the end of the transaction. */
export async function useSettings(trx: Transaction<Tables>, settings: Settings): Promise<void> {
  await sql`select ${settingsIn(settings)}`.execute(trx)
}

/** The same as the columns of a statement that has something else to ask too. */
export const settingsIn = (settings: Settings): RawBuilder<unknown> =>
  sql.join(Object.entries(settings).map(([name, value]) => sql`set_config(${name}, ${value}, true)`))
