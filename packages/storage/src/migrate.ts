import { readdir } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { StepwellError } from '@stepwell/protocol'
import { sql } from 'kysely'
import { type Migration, type MigrationProvider, Migrator } from 'kysely/migration'
import { completeIndexes } from './complete-indexes.ts'
import { type Database, type DatabaseConfig, isPool, openDatabase } from './database.ts'
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
 * Throws SchemaTooNewError where the database is ahead of this program; database errors as `pg` gives them.
 */
export async function migrateToLatest(options: {
  connectionString: DatabaseConfig
  schema?: string
}): Promise<MigrationReport> {
  const { connectionString: config, schema } = options
  // The migrations name no schema: they need connections that look there, which a lent pool's must not.
  const database = openDatabase(schema !== undefined && isPool(config) ? config.options : config, schema)
  try {
    if (schema !== undefined) await createSchema(database, schema)
    await refuseNewer(database)
    const { error, results } = await migrator(database).migrateToLatest()
    if (error !== undefined) throw error
    const indexes = await completeIndexes(database)
    const partitions = await ensurePartitions(database, monthsAround(Date.now()))
    return { applied: (results ?? []).map((result) => result.migrationName), indexes, partitions }
  } finally {
    await database.close()
  }
}

// Two that create it in the same instant would fail with a unique violation, with `if not exists` too.
async function createSchema({ db }: Database, schema: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('stepwell.schema'))`.execute(trx)
    // `if not exists` asks for the right to create schemas even where this one is there.
    const { rows } = await sql`select 1 from pg_namespace where nspname = ${schema}`.execute(trx)
    if (rows.length === 0) await sql`create schema ${sql.id(schema)}`.execute(trx)
  })
}

function migrator({ db, schema }: Database): Migrator {
  return new Migrator({
    db,
    provider: migrations,
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: LOCK_TABLE,
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  })
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
