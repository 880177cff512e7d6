import { type Kysely, sql } from 'kysely'

// Of hours in which much ran of a skill its quarters (docs/adr/0012-rollups.md), so that a window that begins within an hour reads a few runs one by one,
// where it read hundreds of them, from as many pages. Null where little ran, in what is there already, and in what a worker of a version before
// this writes: there the runs are read as before.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table execution_rollups add column parts text`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`alter table execution_rollups drop column parts`.execute(db)
}
