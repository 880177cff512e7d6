import { type Kysely, sql } from 'kysely'

// What all skills came to, as text (docs/adr/0012-rollups.md): a third shorter than the bytes of before, and sent as it is, where bytes are sent as twice as
// many digits. And the sum of all skills of an hour or a day, for statistics piece by piece. What is there already stays in `skills`, as does what a
// worker of a version before this writes: it is read as before until it is rolled up again. New rows leave that null.

const DAY_MS = 86_400_000

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table execution_rollup_overviews
      alter column skills drop not null,
      add column runs  text,
      add column total text`.execute(db)
  await sql`alter table execution_rollup_overviews alter column runs set storage external`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  // What is only there as text is made anew, with all the rest.
  await sql`delete from execution_rollups`.execute(db)
  await sql`delete from execution_rollup_overviews`.execute(db)
  const beyond = new Date((Math.floor(Date.now() / DAY_MS) + 3) * DAY_MS)
  await sql`update execution_rollup_state set rolled_from = greatest(rolled_from, ${beyond})`.execute(db)
  await sql`
    alter table execution_rollup_overviews
      drop column runs, drop column total, alter column skills set not null`.execute(db)
}
