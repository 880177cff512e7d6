import { type RawBuilder, sql } from 'kysely'

/** Settings of Postgres by name, as text. */
export type Settings = Readonly<Record<string, string>>

/** Makes them hold to the end of the transaction: columns of a statement that has something else to ask too. */
export const settingsIn = (settings: Settings): RawBuilder<unknown> =>
  sql.join(Object.entries(settings).map(([name, value]) => sql`set_config(${name}, ${value}, true)`))
