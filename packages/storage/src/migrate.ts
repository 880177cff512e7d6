import { readdir } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { InvalidInputError, StepwellError } from '@stepwell/protocol'
import { Kysely, type LogEvent, PostgresAdapter, PostgresDialect, sql, type Transaction } from 'kysely'
import { type Migration, type MigrationProvider, Migrator } from 'kysely/migration'
import { completeIndexes } from './complete-indexes.ts'
import { type Database, type DatabaseConfig, openDatabase } from './database.ts'
import { ensurePartitions, monthsAround } from './partitions.ts'

const MIGRATION_TABLE = 'stepwell_migrations'
const LOCK_TABLE = 'stepwell_migration_lock'

/** The database was migrated by a newer Stepwell. Code `SCHEMA_TOO_NEW`. */
export class SchemaTooNewError extends StepwellError {
  constructor(unknown: readonly string[]) {
    super(
      'SCHEMA_TOO_NEW',
      `The database was migrated by a newer Stepwell (it has ${unknown.join(', ')}): upgrade this program, or point it at another database or schema`,
    )
  }
}

/** What a migration did. */
export interface MigrationReport {
  /** Names of the migrations that ran now; empty if the schema was up to date. */
  applied: string[]
  /** Indexes of months made now, which migrations have declared. */
  indexes: string[]
  /** Partitions made now: this month and three ahead. */
  partitions: string[]
}

/**
 * Brings the schema up to date, makes the indexes that months lack (while others write) and the partitions
 * of this month and the next three. Idempotent; safe when several start at once (the others wait for the schema, not for the indexes). With `schema` the tables lie there; it is created if missing.
 * Throws SchemaTooNewError where the database is ahead of this program, InvalidInputError where it is not in UTF8; database errors as `pg` gives them.
 */
export async function migrateToLatest(options: {
  connectionString: DatabaseConfig
  schema?: string
}): Promise<MigrationReport> {
  const database = openDatabase(options.connectionString, options.schema)
  try {
    await refuseOtherEncoding(database)
    await refuseNewer(database)
    const applied = await migrateTables(database)
    const indexes = await completeIndexes(database)
    const partitions = await ensurePartitions(database, monthsAround(Date.now()))
    return { applied, indexes, partitions }
  } finally {
    await database.close()
  }
}

/** In one transaction, lock and search path too: behind a pooler what they are for a session others would meet. Gives what was applied. */
function migrateTables({ pool, schema }: Database): Promise<string[]> {
  // Kysely looks again whether a table is there that it could not make, and then says that the transaction is broken off.
  let reason: unknown
  const log = (event: LogEvent): void => {
    if (event.level === 'error') reason ??= event.error
  }
  const db = new Kysely<unknown>({ dialect: new LockedDialect({ pool }), log })
  return db.transaction().execute(async (trx) => {
    // Two that create a table or a schema in the same instant would fail with a unique violation, with `if not exists` too.
    await sql`select pg_advisory_xact_lock(hashtext('stepwell.schema'))`.execute(trx)
    if (schema !== undefined) await enterSchema(trx, schema)
    const { error, results } = await new Migrator({
      db: trx,
      provider: migrations,
      migrationTableName: MIGRATION_TABLE,
      migrationLockTableName: LOCK_TABLE,
      ...(schema === undefined ? {} : { migrationTableSchema: schema }),
    }).migrateToLatest()
    if (error !== undefined) throw reason ?? error
    return (results ?? []).map((result) => result.migrationName)
  })
}

/** Its own lock is the session's. */
class LockedDialect extends PostgresDialect {
  override createAdapter(): PostgresAdapter {
    return new LockedAdapter()
  }
}

class LockedAdapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}
  override async releaseMigrationLock(): Promise<void> {}
}

/** The migrations name no schema. */
async function enterSchema(trx: Transaction<unknown>, schema: string): Promise<void> {
  // `if not exists` asks for the right to create schemas even where this one is there.
  const { rows } = await sql`select 1 from pg_namespace where nspname = ${schema}`.execute(trx)
  if (rows.length === 0) await sql`create schema ${sql.id(schema)}`.execute(trx)
  await sql`set local search_path = ${sql.id(schema)}, public`.execute(trx)
}

/** Which migrations the database lacks, and which it has that this program does not know. Changes nothing. */
export async function checkMigrations(database: Database): Promise<{ missing: string[]; unknown: string[] }> {
  const executed = await executedMigrations(database)
  const known = Object.keys(await migrations.getMigrations())
  return {
    missing: known.filter((name) => !executed.includes(name)),
    unknown: executed.filter((name) => !known.includes(name)),
  }
}

async function refuseOtherEncoding({ db }: Database): Promise<void> {
  const { rows } = await sql<{ server_encoding: string }>`show server_encoding`.execute(db)
  const encoding = rows[0]?.server_encoding
  if (encoding === 'UTF8') return
  throw new InvalidInputError(
    `The database is in ${encoding}, which cannot hold every text: make one with encoding 'UTF8' template template0`,
  )
}

async function refuseNewer(database: Database): Promise<void> {
  const { unknown } = await checkMigrations(database)
  if (unknown.length > 0) throw new SchemaTooNewError(unknown)
}

async function executedMigrations({ db, schema }: Database): Promise<string[]> {
  const table = schema === undefined ? MIGRATION_TABLE : `${schema}.${MIGRATION_TABLE}`
  const { rows } = await sql<{
    present: boolean
  }>`select to_regclass(${table}) is not null as present`.execute(db)
  if (!rows[0]?.present) return []
  const executed = await sql<{ name: string }>`select name from ${sql.table(table)}`.execute(db)
  return executed.rows.map((row) => row.name)
}

// The sources lie at the top of the repository; the build puts them beside this file. Kysely's FileMigrationProvider would
// also take the declarations beside the built ones.
const built = extname(fileURLToPath(import.meta.url)) === '.js'
const folder = fileURLToPath(new URL(built ? './migrations' : '../../../migrations', import.meta.url))

const migrations: MigrationProvider = {
  async getMigrations() {
    const found: Record<string, Migration> = {}
    for (const file of (await readdir(folder)).sort()) {
      if (!/^\d{4}_\w+\.(js|ts)$/.test(file)) continue
      found[file.slice(0, -3)] = (await import(pathToFileURL(join(folder, file)).href)) as Migration
    }
    return found
  },
}
