import { type Kysely, sql } from 'kysely'

// Times and versions come from the writer, never from the server; every unique key holds (trace_id, started_at); no triggers:
// the rules that keep the table distributable (docs/ARCHITECTURE.md, "Postgres").
// Columns of fixed width come first, so that no row spends bytes on alignment.

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table execution_traces (
      trace_id          uuid             not null,
      started_at        timestamptz      not null default now(),
      completed_at      timestamptz,
      total_duration_ms double precision,
      ingested_at       timestamptz      not null default now(),
      step_count        integer          not null default 0,
      missing_steps     integer          not null default 0,
      version           integer          not null default 1,
      sample_weight     real             not null default 1,
      parent_trace_id   uuid,
      root_trace_id     uuid,
      skill_name        text             not null,
      status            text             not null default 'running'
                        check (status in ('running', 'success', 'failed', 'timeout')),
      execution_id      text,
      parent_step_id    text,
      error_message     text,
      steps             json             not null default '[]',
      metadata          jsonb            not null default '{}',
      merge_state       json,
      primary key (trace_id, started_at)
    ) partition by range (started_at)`.execute(db)

  await sql`create index execution_traces_started on execution_traces (started_at desc, trace_id desc)`.execute(
    db,
  )
  await sql`create index execution_traces_skill on execution_traces (skill_name, started_at desc)`.execute(db)
  await sql`create index execution_traces_failed on execution_traces (started_at desc) where status = 'failed'`.execute(
    db,
  )
  await sql`create index execution_traces_running on execution_traces (started_at) where status = 'running'`.execute(
    db,
  )
  await sql`create index execution_traces_execution on execution_traces (execution_id) where execution_id is not null`.execute(
    db,
  )
  await sql`create index execution_traces_metadata on execution_traces using gin (metadata jsonb_path_ops)`.execute(
    db,
  )

  // Steps are stored as arrays (docs/adr/0002-storage-form-of-steps.md); the views spell them out.
  await sql`
    create view trace_steps as
    select t.trace_id,
           t.started_at as trace_started_at,
           t.skill_name,
           s.position,
           s.step ->> 0 as step_id,
           s.step ->> 1 as name,
           t.started_at + (s.step ->> 2)::double precision * interval '1 millisecond' as "timestamp",
           (s.step ->> 3)::double precision as duration_ms,
           case when s.step ->> 3 is null then 'running'
                else (array['success', 'failed', 'timeout'])[coalesce((s.step ->> 4)::integer, 0) + 1] end as status,
           s.step ->> 5 as error_message,
           s.step ->> 6 as parent_id,
           case when json_typeof(s.step -> 7) = 'object' then (s.step -> 7)::jsonb end as attributes
      from execution_traces t
     cross join lateral json_array_elements(t.steps) with ordinality as s(step, position)`.execute(db)

  await sql`
    create view traces as
    select t.trace_id, t.started_at, t.skill_name, t.execution_id, t.completed_at, t.total_duration_ms, t.status,
           (select coalesce(jsonb_agg(
                     jsonb_strip_nulls(jsonb_build_object(
                       'id', s.step_id, 'name', s.name, 'timestamp', s."timestamp", 'duration_ms', s.duration_ms,
                       'status', s.status, 'error_message', s.error_message, 'parent_id', s.parent_id))
                     || case when s.attributes is null then '{}' else jsonb_build_object('attributes', s.attributes) end
                     order by s.position), '[]')
              from trace_steps s
             where s.trace_id = t.trace_id and s.trace_started_at = t.started_at) as steps,
           t.step_count, t.missing_steps, t.error_message, t.metadata,
           t.parent_trace_id, t.parent_step_id, t.root_trace_id, t.sample_weight, t.ingested_at
      from execution_traces t`.execute(db)

  await sql`
    create table execution_dead_letters (
      letter_id     text        not null primary key,
      stream        text        not null,
      entry_id      text        not null,
      first_seen_at timestamptz not null,
      last_seen_at  timestamptz not null,
      deliveries    integer     not null default 1,
      producer      text,
      trace_id      text,
      reason        text        not null,
      payload       text        not null
    )`.execute(db)
  await sql`create index execution_dead_letters_seen on execution_dead_letters (last_seen_at desc)`.execute(
    db,
  )
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table execution_dead_letters`.execute(db)
  await sql`drop view traces`.execute(db)
  await sql`drop view trace_steps`.execute(db)
  await sql`drop table execution_traces`.execute(db)
}
