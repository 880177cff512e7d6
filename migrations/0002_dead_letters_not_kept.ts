import { type Kysely, sql } from 'kysely'

// What dead letters were not kept: counted by reason, a hundred reasons at most. Apart from the letters, so that dropping those
// forgets nothing here.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table execution_dead_letters_not_kept (
      reason        text        not null primary key,
      no_room       bigint      not null,
      too_old       bigint      not null,
      first_seen_at timestamptz not null,
      last_seen_at  timestamptz not null
    )`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table execution_dead_letters_not_kept`.execute(db)
}
