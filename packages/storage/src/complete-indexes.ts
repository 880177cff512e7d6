import { InvalidInputError } from '@stepwell/protocol'
import { type Kysely, sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { withSettings } from './session.ts'
import type { Tables } from './tables.ts'
import { isConflict } from './transient-error.ts'

/** Indexes of older versions: others have taken their place. */
const REPLACED = ['started', 'skill', 'failures', 'skill_failures'].map((name) => `execution_traces_${name}`)
/** So long writers wait, at most, for those who read with an index that is to be dropped. */
const DROP_TIMEOUT = '2s'

interface MissingIndex {
  /** The index of the whole table, with its schema. */
  whole: string
  definition: string
  /** The month, and what its index is to be called; with their schema. */
  month: string
  name: string
  /** Of one of that name that is there already. */
  is_valid: boolean | null
}

/**
 * Makes the indexes of `execution_traces` that a migration has only declared (`create index … on only`), month by month, while others read and write:
 * an ordinary one would keep all writers waiting for as long as it takes to read everything. Idempotent: what an earlier call began is ended or
 * begun anew. Then those that they replace are dropped; where somebody reads all the time, by a later call. Where another process does it just now, nothing is done. Gives the names of those made. Throws what `pg` throws, and
 * InvalidInputError where the pool has but one connection.
 */
export async function completeIndexes(database: Database): Promise<string[]> {
  const made = await makeMissing(database)
  // Another process makes them: it drops too.
  if (made === undefined) return []
  await dropReplaced(database)
  return made
}

/** Undefined where another process does it. */
function makeMissing(database: Database): Promise<string[] | undefined> {
  const table = qualified(database.schema, 'execution_traces')
  // It holds the lock, which would stay behind in a pooler, were it the session's.
  const holder = database.db.transaction().setIsolationLevel('read committed')
  return holder.execute(async (trx) => {
    // Who waited for the lock would be waited for by the one who makes an index.
    const { rows } = await sql<{ free: boolean }>`
      select pg_try_advisory_xact_lock(hashtext('stepwell.indexes')) as free`.execute(trx)
    if (!rows[0]?.free) return undefined
    const missing = await missingIndexes(trx, table)
    if (missing.length === 0) return []
    if (database.pool.options.max < 2)
      throw new InvalidInputError('Migrating needs a pool of at least two connections')
    // Not before: the snapshot of a statement with parameters lives until the next one comes, and would be waited for too.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx)
    const patient = { statement_timeout: '0', lock_timeout: '0' }
    await withSettings(database, patient, async (db) => {
      for (const index of missing) await makeIndex(db, index)
    })
    return missing.map((index) => index.name)
  })
}

async function missingIndexes(db: Kysely<Tables>, table: string): Promise<MissingIndex[]> {
  const { rows } = await sql<MissingIndex>`
    select whole, definition, format('%I.%I', nspname, month) as month, format('%I.%I', nspname, name) as name, made.indisvalid as is_valid
      from (select format('%I.%I', n.nspname, w.relname) as whole, pg_get_indexdef(w.oid) as definition, n.nspname, m.relname as month,
                   m.relname || regexp_replace(w.relname, '^execution_traces', '') as name
              from pg_index i
              join pg_class w on w.oid = i.indexrelid
              join pg_namespace n on n.oid = w.relnamespace
              join pg_inherits part on part.inhparent = i.indrelid and not part.inhdetachpending
              join pg_class m on m.oid = part.inhrelid
             where i.indrelid = to_regclass(${table}) and not i.indisvalid
               and not exists (select from pg_inherits h join pg_index c on c.indexrelid = h.inhrelid
                                where h.inhparent = i.indexrelid and c.indrelid = m.oid)) missing
      left join pg_index made on made.indexrelid = to_regclass(format('%I.%I', nspname, name))
     order by month, name`.execute(db)
  return rows
}

async function dropReplaced({ db, schema }: Database): Promise<void> {
  for (const name of REPLACED.map((name) => qualified(schema, name))) {
    const { rows } = await sql<{
      is_there: boolean
    }>`select to_regclass(${name}) is not null as is_there`.execute(db)
    if (!rows[0]?.is_there) continue
    try {
      await db.transaction().execute(async (trx) => {
        await sql`set local lock_timeout = ${sql.lit(DROP_TIMEOUT)}`.execute(trx)
        await sql`drop index if exists ${sql.table(name)}`.execute(trx)
      })
    } catch (error) {
      if (!isConflict(error)) throw error
    }
  }
}

async function makeIndex(
  db: Kysely<Tables>,
  { whole, definition, month, name, is_valid }: MissingIndex,
): Promise<void> {
  const [index, parent] = [sql.table(name), sql.table(whole)]
  // Somebody was stopped while making it.
  if (is_valid === false) await sql`drop index concurrently ${index}`.execute(db)
  if (is_valid !== true) {
    const rest = definition.replace(/^CREATE INDEX .*? ON ONLY .*? USING /, '')
    await sql`create index concurrently ${sql.ref(name.split('.').at(-1) as string)} on ${sql.table(month)} using ${sql.raw(rest)}`.execute(
      db,
    )
  }
  await sql`alter index ${parent} attach partition ${index}`.execute(db)
}
