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

// `pg` reads times in this form alone, and does not ask for it: by another default of server, role or database they would be null. Poolers know it
// as a setting of each client.
const FORM: Setting = { name: 'datestyle', value: 'ISO' }

// As Postgres has them from the beginning. By others numbers would be read cut, and who meets somebody else in a row would be refused; a replica
// takes no serializable transactions at all.
const RULES: readonly Setting[] = [
  { name: 'extra_float_digits', value: '1' },
  { name: 'default_transaction_isolation', value: 'read committed' },
]

/** Sets a client's session up, which has just been connected. Behind a pooler there is none of its own: then these are left as they are. */
export async function setUpSession(client: Client, settings: readonly Setting[]): Promise<void> {
  const set = ({ name, value }: Setting): string => `set_config('${name}', '${value}', false)`
  const ifOwn = [...RULES, ...settings].map((setting) => {
    const unless = setting.givesWay ? ` and current_setting('${setting.name}') = '0'` : ''
    return `case when ${isOwnSession(client)}${unless} then ${set(setting)} end`
  })
  await client.query(`select ${[set(FORM), ...ifOwn].join()}`)
}

/**
 * SQL: whether the session that answers is this client's own. Behind a pooler, like PgBouncer, it is not: what a statement sets for its session
 * there, the next one may not find, and other clients do. A pooler tells each client an id that it has made up, where Postgres tells that of
 * the session.
 */
export const isOwnSession = (client: object): string =>
  `pg_backend_pid() = ${(client as Client).processID ?? 0}`
