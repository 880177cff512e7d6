// The same file is in packages/storage: neither may import the other.

/** What we need of a client of `pg`. */
interface Client {
  query(sql: string): Promise<unknown>
  /** The id of its session, as the server has told it when it connected; there, if undocumented, since the first version. */
  processID?: number | null
}

/** A setting of Postgres, as `set_config` takes it. */
export interface Setting {
  name: string
  value: string
  /** Whether another one of URL, role or database counts more. */
  givesWay?: boolean
}

// By another default of server, role or database, `pg` would read times as null, and strings would have escapes. Both are known to poolers as
// settings of their clients'.
const FORMS: readonly Setting[] = [
  { name: 'datestyle', value: 'ISO' },
  { name: 'standard_conforming_strings', value: 'on' },
]

/** Sets a client's session up, which has just been connected. Behind a pooler there is none of its own: then these are left as they are. */
export async function setUpSession(client: Client, settings: readonly Setting[]): Promise<void> {
  const set = ({ name, value }: Setting): string => `set_config('${name}', '${value}', false)`
  const ifOwn = settings.map((setting) => {
    const unless = setting.givesWay ? ` and current_setting('${setting.name}') = '0'` : ''
    return `case when ${isOwnSession(client)}${unless} then ${set(setting)} end`
  })
  await client.query(`select ${[...FORMS.map(set), ...ifOwn].join()}`)
}

/**
 * SQL: whether the session that answers is this client's own. Behind a pooler, like PgBouncer, it is not: what a statement sets for its session
 * there, the next one may not find, and other clients do. A pooler tells each client an id that it has made up, where Postgres tells that of
 * the session.
 */
export const isOwnSession = (client: object): string =>
  `pg_backend_pid() = ${(client as Client).processID ?? 0}`
