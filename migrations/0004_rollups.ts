import { type Kysely, sql } from 'kysely'

// What statistics are read from: per skill and minute, hour, day (docs/adr/0012-rollups.md). Minutes are whole minutes since 1970.

const MINUTE_MS = 60_000
const DAY_MS = 1_440 * MINUTE_MS
/** No trace starts earlier. */
const EARLIEST = new Date(Date.UTC(2000, 0, 1))

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table execution_rollups (
      bucket          timestamptz      not null,
      running         bigint           not null,
      success         bigint           not null,
      failed          bigint           not null,
      timeout         bigint           not null,
      duration_sum_ms double precision not null,
      duration_max_ms double precision not null,
      width_s         integer          not null check (width_s in (60, 3600, 86400)),
      skill_name      text             not null,
      durations       bytea            not null,
      steps           bytea            not null,
      primary key (skill_name, width_s, bucket)
    )`.execute(db)
  await sql`create index execution_rollups_bucket on execution_rollups (width_s, bucket)`.execute(db)

  // The same of all skills together, without steps: what came of a month of them is in 60 rows instead of 10,000.
  await sql`
    create table execution_rollup_overviews (
      bucket  timestamptz not null,
      width_s integer     not null check (width_s in (60, 3600, 86400, 604800)),
      skills  bytea       not null,
      primary key (width_s, bucket)
    )`.execute(db)

  // Appended by every write, in its transaction; never a target of conflicts.
  await sql`
    create table execution_rollup_marks (
      due_at  timestamptz    not null,
      minutes int4multirange not null
    )`.execute(db)

  await sql`
    create table execution_rollup_state (
      only_row     boolean     not null primary key default true check (only_row),
      rolled_from  timestamptz not null,
      minutes_from timestamptz not null,
      hours_until  timestamptz not null,
      days_until   timestamptz not null
    )`.execute(db)
  const nowMs = Date.now()
  const floor = (ms: number, width: number): Date => new Date(Math.floor(ms / width) * width)
  // What is there already is rolled up backwards by the job, from beyond the latest start that is accepted.
  const { rows } = await sql<{ any: boolean }>`select exists (select from execution_traces) as "any"`.execute(
    db,
  )
  await sql`
    insert into execution_rollup_state (rolled_from, minutes_from, hours_until, days_until)
    values (${rows[0]?.any ? floor(nowMs + 3 * DAY_MS, DAY_MS) : EARLIEST}, ${floor(nowMs - 3 * DAY_MS, DAY_MS)},
            ${floor(nowMs, 60 * MINUTE_MS)}, ${floor(nowMs, DAY_MS)})`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table execution_rollup_state, execution_rollup_marks, execution_rollup_overviews, execution_rollups`.execute(
    db,
  )
}
