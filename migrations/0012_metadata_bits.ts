import { type Kysely, sql } from 'kysely'

// Which runs of a skill, or which failures, have certain metadata is told by the index that gives their order, without a look at them
// (docs/adr/0009-search.md). Null in what was written before, and by older workers: then each is looked at, as ever.
// And traces in the order of time, oldest first: what comes now goes to the end of the index, where pages are filled, and not split in halves. Read
// backwards they are the newest first: 30 bytes a trace less.

// Indexes tell that only of pages that all may see, so months are vacuumed more often (`ensurePartitions` has the same).

// The indexes are only declared here: `completeIndexes` makes them after the migration, month by month, and then drops those that they replace.

const INDEXES = {
  newest: '(started_at, trace_id)',
  skill_newest: '(skill_name, started_at) include (metadata_bits, version)',
  failures_newest: `(started_at, trace_id)
    include (error_signature, failure_pattern, skill_name, metadata_bits, version) where status = 'failed'`,
  skill_failures_newest: `(skill_name, started_at, trace_id)
    include (error_signature, failure_pattern, metadata_bits, version) where status = 'failed'`,
  // Those that few failures have: of a user's runs, the tenth that failed.
  failures_metadata: `using gin (metadata jsonb_path_ops) where status = 'failed'`,
}

const REPLACED = {
  started: '(started_at desc, trace_id desc)',
  skill: '(skill_name, started_at desc)',
  failures: `(started_at desc, trace_id desc) include (error_signature, failure_pattern, skill_name) where status = 'failed'`,
  skill_failures: `(skill_name, started_at desc, trace_id desc) include (error_signature, failure_pattern) where status = 'failed'`,
}

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table execution_traces add column metadata_bits bigint`.execute(db)
  await declare(db, INDEXES)
  await setVacuum(
    db,
    'set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000)',
  )
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const name of Object.keys({ ...INDEXES, ...REPLACED }))
    await sql`drop index if exists ${sql.ref(`execution_traces_${name}`)}`.execute(db)
  await sql`alter table execution_traces drop column metadata_bits`.execute(db)
  await declare(db, REPLACED)
  await setVacuum(db, 'reset (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold)')
}

async function setVacuum(db: Kysely<unknown>, how: string): Promise<void> {
  const { rows } = await sql<{ month: string }>`
    select inhrelid::regclass::text as month from pg_inherits where inhparent = 'execution_traces'::regclass`.execute(
    db,
  )
  for (const { month } of rows) await sql`alter table ${sql.raw(month)} ${sql.raw(how)}`.execute(db)
}

async function declare(db: Kysely<unknown>, indexes: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, columns] of Object.entries(indexes))
    await sql`create index ${sql.ref(`execution_traces_${name}`)} on only execution_traces ${sql.raw(columns)}`.execute(
      db,
    )
}
