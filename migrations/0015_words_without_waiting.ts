import { type Kysely, sql } from 'kysely'

// Messages that are new go into the index of words at once (13 µs each): in a list of their own, which a vacuum that has little reason to come would empty, they made
// Postgres scan the whole catalogue for similar ones (docs/adr/0008-similar-failures.md).

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter index failure_signatures_words set (fastupdate = off)`.execute(db)
  await sql`select gin_clean_pending_list('failure_signatures_words')`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`alter index failure_signatures_words reset (fastupdate)`.execute(db)
}
