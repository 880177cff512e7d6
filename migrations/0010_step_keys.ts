import { type Kysely, sql } from 'kysely'

// Which steps the runs of a skill had in an hour or on a day, by hashes (`stepKeys` in the protocol): a search by the name of a step looks only where there
// is such a step (docs/adr/0009-search.md). Null where nobody has noted them: minutes, what is there already, and what a worker of a version
// before this writes, which leaves `has_step_keys` null too.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table execution_rollups add column step_keys integer[]`.execute(db)
  await sql`alter table execution_rollup_overviews add column has_step_keys boolean`.execute(db)
  // Hours and days are written once or twice: entries that wait in a list of their own would make every search read that list.
  await sql`
    create index execution_rollups_steps on execution_rollups using gin (step_keys) with (fastupdate = off)
     where step_keys is not null`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`alter table execution_rollup_overviews drop column has_step_keys`.execute(db)
  await sql`alter table execution_rollups drop column step_keys`.execute(db)
}
