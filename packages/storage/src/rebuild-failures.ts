import type { TraceRow } from '@stepwell/protocol'
import { PATTERN_VERSION } from '@stepwell/protocol/failures'
import { CompiledQuery, type RawBuilder, sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { FailureCatalogue } from './failure-catalogue.ts'
import { type FailureMarks, failureMarks } from './failure-marks.ts'
import { lateWriteStatement } from './late-writes.ts'
import { markStatement } from './rollup-marks.ts'

/** What to make anew. */
export interface RebuildOptions {
  /**
   * Look at every trace that failed or timed out, not only at those that have no signature or a pattern of an older version; and enter what they say
   * where that is lost. Reads all traces.
   */
  all?: boolean
  /** Told after each batch how many traces were looked at and changed so far. */
  onProgress?: (progress: RebuiltFailures) => void
  /** Stops after the batch in work. What is done stays, and the next call goes on where it is needed. */
  signal?: AbortSignal
}

/** What a rebuild did. */
export interface RebuiltFailures {
  looked: number
  changed: number
}

const BATCH = 500
/** A batch ends sooner where traces are long, so that memory stays bounded. */
const STEPS_A_BATCH = 20_000

interface StoredFailure extends Pick<TraceRow, 'trace_id' | 'status' | 'error_message' | 'steps'> {
  started_at: Date
  started_text: string
  version: number
  error_signature: string | null
  failure_pattern: string | null
  failed_step: string | null
}

/**
 * Gives failures their signature, pattern and step where they lack them: those that were stored before there was one, or by rules of an older
 * version. Idempotent; in batches of 500, each committed by itself, so it may be stopped at any time. Safe while workers write: a trace that
 * changes meanwhile is left to who changes it. Throws what `pg` throws.
 */
export async function rebuildFailures(
  database: Database,
  { all = false, onProgress, signal }: RebuildOptions = {},
): Promise<RebuiltFailures> {
  const done: RebuiltFailures = { looked: 0, changed: 0 }
  const catalogue = new FailureCatalogue(database)
  /** Gives one of them as it is now. */
  const redo = async (which: RawBuilder<unknown>): Promise<FailureMarks | undefined> => {
    let after: StoredFailure | undefined
    for (;;) {
      const rows = signal?.aborted ? [] : await nextRows(database, which, after)
      if (rows.length === 0) return after && (failureMarks(after) ?? undefined)
      after = rows.at(-1)
      done.looked += rows.length
      done.changed += await mark(database, catalogue, rows, all)
      onProgress?.({ ...done })
    }
  }
  await redo(
    all
      ? sql`status in ('failed', 'timeout')`
      : sql`status = 'failed' and error_message is not null and error_signature is null`,
  )
  for (const pattern of signal?.aborted ? [] : await outdatedPatterns(database)) {
    const marks = await redo(sql`failure_pattern = ${pattern}::bigint`)
    if (!signal?.aborted) await settlePattern(database, pattern, marks?.message?.patternId)
  }
  return done
}

async function nextRows(
  { db, schema }: Database,
  which: RawBuilder<unknown>,
  after: StoredFailure | undefined,
): Promise<StoredFailure[]> {
  const more =
    after === undefined
      ? sql``
      : sql`and (started_at, trace_id) > (${after.started_text}::timestamptz, ${after.trace_id}::uuid)`
  const { rows } = await sql<StoredFailure>`
    select trace_id, started_at, started_at::text as started_text, status, error_message, steps, version, error_signature, failure_pattern, failed_step
      from (select *, sum(step_count) over (order by started_at, trace_id) - step_count as steps_before
              from (select * from ${sql.table(qualified(schema, 'execution_traces'))}
                     where ${which} ${more} order by started_at, trace_id limit ${BATCH}) batch) summed
     where steps_before < ${STEPS_A_BATCH}
     order by started_at, trace_id`.execute(db)
  return rows
}

async function mark(
  database: Database,
  catalogue: FailureCatalogue,
  rows: readonly StoredFailure[],
  all: boolean,
): Promise<number> {
  const marked = rows.map((row) => ({ row, marks: failureMarks(row) }))
  const changed = marked.filter(({ row, marks }) => differs(row, marks))
  await catalogue.enter(
    (all ? marked : changed).flatMap(({ row, marks }) =>
      marks?.message ? [{ marks: marks.message, startedAtMs: row.started_at.getTime() }] : [],
    ),
    Date.now(),
  )
  if (changed.length === 0) return 0
  const table = sql.table(qualified(database.schema, 'execution_traces'))
  const keys = changed.map(({ row }) => ({ traceId: row.trace_id, startedAtMs: row.started_at.getTime() }))
  const rollups = markStatement(
    qualified(database.schema, 'execution_rollup_marks'),
    keys.map(({ startedAtMs }) => startedAtMs),
    Date.now(),
  )
  const note = lateWriteStatement(qualified(database.schema, 'execution_late_writes'), keys, Date.now())
  const update = sql`
    with marked as (
      select * from unnest(${changed.map(({ row }) => row.trace_id)}::uuid[], ${changed.map(({ row }) => row.started_text)}::timestamptz[],
                           ${changed.map(({ row }) => row.version)}::integer[], ${changed.map(({ marks }) => marks?.message?.signature ?? null)}::bigint[],
                           ${changed.map(({ marks }) => marks?.message?.patternId ?? null)}::bigint[], ${changed.map(({ marks }) => marks?.step ?? null)}::text[])
          as m (trace_id, started_at, version, signature, pattern, step)
    ), locked as (
      select t.trace_id, t.started_at, m.signature, m.pattern, m.step
        from ${table} t join marked m on t.trace_id = m.trace_id and t.started_at = m.started_at and t.version = m.version
       order by t.trace_id
         for update of t skip locked
    )
    update ${table} t set error_signature = l.signature, failure_pattern = l.pattern, failed_step = l.step
      from locked l where t.trace_id = l.trace_id and t.started_at = l.started_at`
  return database.db.transaction().execute(async (trx) => {
    await trx.executeQuery(CompiledQuery.raw(rollups))
    if (note !== undefined) await trx.executeQuery(CompiledQuery.raw(note))
    return Number((await update.execute(trx)).numAffectedRows ?? 0)
  })
}

const differs = (row: StoredFailure, marks: FailureMarks | null): boolean =>
  row.error_signature !== textOf(marks?.message?.signature) ||
  row.failure_pattern !== textOf(marks?.message?.patternId) ||
  row.failed_step !== (marks?.step ?? null)

const textOf = (id: bigint | undefined): string | null => (id === undefined ? null : String(id))

async function outdatedPatterns({ db }: Database): Promise<string[]> {
  const rows = await db
    .selectFrom('failure_patterns')
    .select('pattern_id')
    .where('pattern_version', '<', PATTERN_VERSION)
    .orderBy('pattern_id')
    .execute()
  return rows.map((row) => row.pattern_id)
}

/**
 * What this pattern stood for has been looked at. It stays, for its id may have been handed out, and leads to where its traces are now.
 */
async function settlePattern(
  { db }: Database,
  pattern: string,
  successor: bigint = BigInt(pattern),
): Promise<void> {
  await db
    .updateTable('failure_patterns')
    .set((to) => ({
      pattern_version: PATTERN_VERSION,
      ...(String(successor) === pattern
        ? {}
        : {
            group_id: to
              .selectFrom('failure_patterns as s')
              .select('s.group_id')
              .where('s.pattern_id', '=', String(successor)),
          }),
    }))
    .where('pattern_id', '=', pattern)
    .execute()
}
