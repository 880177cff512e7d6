import { type Kysely, sql } from 'kysely'

// What a failed trace is found by (docs/adr/0008-similar-failures.md): the set of the words of its message, the pattern of the message,
// and the step. All three follow from the other columns, and are null where nothing failed: only failures pay for them.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table execution_traces
      add column error_signature bigint,
      add column failure_pattern bigint,
      add column failed_step     text`.execute(db)

  await sql`
    create table failure_signatures (
      signature  bigint      not null primary key,
      seen_until timestamptz not null,
      word_count integer     not null,
      words      integer[]   not null
    )`.execute(db)
  await sql`create index failure_signatures_words on failure_signatures using gin (words array_ops)`.execute(
    db,
  )

  await sql`
    create table failure_patterns (
      pattern_id      bigint      not null primary key,
      group_id        bigint      not null,
      first_seen      timestamptz not null,
      seen_until      timestamptz not null,
      pattern_version integer     not null,
      pattern         text        not null,
      general         text
    )`.execute(db)
  await sql`create index failure_patterns_group on failure_patterns (group_id)`.execute(db)

  await sql`
    create table failure_notes (
      pattern_id bigint      not null primary key,
      updated_at timestamptz not null,
      note       text        not null
    )`.execute(db)

  // Only declared: what there are months of is made after the migration, while others write (`completeIndexes`).
  // The newest failures, of all skills and of one; answers are made from these indexes alone.
  await sql`create index execution_traces_failures on only execution_traces (started_at desc, trace_id desc)
    include (error_signature, failure_pattern, skill_name) where status = 'failed'`.execute(db)
  await sql`create index execution_traces_skill_failures on only execution_traces (skill_name, started_at desc, trace_id desc)
    include (error_signature, failure_pattern) where status = 'failed'`.execute(db)
  await sql`drop index execution_traces_failed`.execute(db)
  await sql`create index execution_traces_signature on only execution_traces (error_signature, started_at desc, trace_id desc)
    where error_signature is not null`.execute(db)
  await sql`create index execution_traces_pattern on only execution_traces (failure_pattern, started_at desc, trace_id desc)
    include (skill_name, failed_step) where failure_pattern is not null`.execute(db)
  await sql`create index execution_traces_failed_step on only execution_traces (failed_step, started_at desc, trace_id desc)
    where failed_step is not null`.execute(db)
  // Failures that were written before this migration: what is left to be done, and empty when it is.
  await sql`create index execution_traces_unsigned on only execution_traces (started_at, trace_id)
    where status = 'failed' and error_message is not null and error_signature is null`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`create index execution_traces_failed on execution_traces (started_at desc) where status = 'failed'`.execute(
    db,
  )
  await sql`drop index execution_traces_failures`.execute(db)
  await sql`drop index execution_traces_unsigned`.execute(db)
  await sql`
    alter table execution_traces
      drop column error_signature,
      drop column failure_pattern,
      drop column failed_step`.execute(db)
  await sql`drop table failure_notes`.execute(db)
  await sql`drop table failure_patterns`.execute(db)
  await sql`drop table failure_signatures`.execute(db)
}
