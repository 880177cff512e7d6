import type { PlainRun, TraceRow } from '@stepwell/protocol'
import { CompiledQuery } from 'kysely'
import type { FailureMarks } from './failure-marks.ts'

/** A row to write. */
export interface RowToWrite {
  /** In the order of COLUMNS. */
  values: readonly unknown[]
  /** In the order of RARE_COLUMNS; null where all of them are. */
  rare: readonly unknown[] | null
}

const COLUMNS = [
  'trace_id',
  'started_at',
  'completed_at',
  'total_duration_ms',
  'step_count',
  'missing_steps',
  'version',
  'skill_name',
  'status',
  'execution_id',
  'steps',
  'metadata',
] as const

/**
 * Null in most rows. A statement leaves out those that are null in all of its rows: 37 µs of Postgres for a common row of ten steps become 29. What
 * stood there is cleared all the same, for `excluded` has them too.
 */
const RARE_COLUMNS = [
  'parent_trace_id',
  'root_trace_id',
  'parent_step_id',
  'error_message',
  'merge_state',
  'error_signature',
  'failure_pattern',
  'failed_step',
] as const

const UPDATED = [...COLUMNS, ...RARE_COLUMNS, 'ingested_at'].filter(
  (name) => name !== 'trace_id' && name !== 'started_at',
)

const UPSERT_TAIL = ` on conflict (trace_id, started_at) do update set ${UPDATED.map(
  (name) => `${name} = excluded.${name}`,
).join(', ')} where t.version = excluded.version - 1`

/**
 * One multi-row upsert. Written as text, once a call: through the query builder's tree it takes three times as long as
 * Postgres does. VALUES rather than unnest: docs/adr/0003-merge-law.md.
 */
export function upsertQuery(table: string, rows: readonly RowToWrite[], ingestedAt: string): CompiledQuery {
  const some = rows.flatMap(({ rare }) => (rare === null ? [] : [rare]))
  const places = RARE_COLUMNS.map((_, i) => i).filter((i) => some.some((rare) => rare[i] !== null))
  const parameters: unknown[] = [ingestedAt]
  for (const { values, rare } of rows) {
    parameters.push(...values)
    for (const i of places) parameters.push(rare === null ? null : rare[i])
  }
  const columns = [...COLUMNS, ...places.map((i) => RARE_COLUMNS[i]), 'ingested_at']
  return CompiledQuery.raw(
    `insert into ${table} as t (${columns.join(', ')}) values ${valuesText(rows.length, columns.length - 1)}${UPSERT_TAIL}`,
    parameters,
  )
}

/** What it holds, what it is found by (null unless it failed), and the version that it is to have. */
export function rowToWrite(row: TraceRow, marks: FailureMarks | null, version: number): RowToWrite {
  return {
    values: [
      row.trace_id,
      row.started_at.toISOString(),
      row.completed_at?.toISOString() ?? null,
      row.total_duration_ms,
      row.step_count,
      row.missing_steps,
      version,
      row.skill_name,
      row.status,
      row.execution_id,
      JSON.stringify(row.steps),
      JSON.stringify(row.metadata),
    ],
    rare: [
      row.parent_trace_id,
      row.root_trace_id,
      row.parent_step_id,
      row.error_message,
      row.merge_state === null ? null : JSON.stringify(row.merge_state),
      marks?.message?.signature ?? null,
      marks?.message?.patternId ?? null,
      marks?.step ?? null,
    ],
  }
}

/** The row that assembling the run gives, in its first version. */
export function runToWrite(run: PlainRun): RowToWrite {
  return {
    values: [
      run.t,
      new Date(run.startedAtMs).toISOString(),
      new Date(run.completedAtMs).toISOString(),
      run.durationMs,
      run.stepCount,
      0,
      1,
      run.skill,
      'success',
      run.executionId,
      run.steps,
      run.metadata,
    ],
    rare: null,
  }
}

/** By the number of values in a tuple: the longest text so far, and where in it the tuple of each row ends. */
const texts = new Map<number, { text: string; ends: number[] }>()

/** The tuples of placeholders for so many rows with so many values: the beginning of the longest one so far, $1 in each being the same. */
function valuesText(rows: number, values: number): string {
  const known = texts.get(values) ?? { text: '', ends: [] }
  texts.set(values, known)
  for (let row = known.ends.length; row < rows; row++) {
    const first = 2 + row * values
    const places = Array.from({ length: values }, (_, i) => `$${first + i}`)
    known.text += `${row === 0 ? '' : ','}(${places.join(',')},$1)`
    known.ends.push(known.text.length)
  }
  return known.text.slice(0, known.ends[rows - 1])
}
