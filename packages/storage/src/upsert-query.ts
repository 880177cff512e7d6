import { metadataBits, type PlainRun, type TraceRow, type TraceStatus } from '@stepwell/protocol'
import { type ColumnType, columnArray } from './column-array.ts'
import type { FailureMarks } from './failure-marks.ts'
import type { Statement } from './send-at-once.ts'

/** A row to write: what a run that went well has too, and what not. */
export interface RowToWrite {
  run: Omit<PlainRun, 'completedAtMs' | 'durationMs'> & {
    completedAtMs: number | null
    durationMs: number | null
  }
  rest: RestOfRow
}

/** What follows from a run being whole, and going well, and being new. */
interface RestOfRow {
  missingSteps: number
  version: number
  status: TraceStatus
  /** Null where all of them are. */
  rare: Readonly<Record<RareName, unknown>> | null
}

interface Column {
  name: string
  type: ColumnType
  of(row: RowToWrite): unknown
}

const COLUMNS: readonly Column[] = [
  { name: 'trace_id', type: 'uuid', of: ({ run }) => run.t },
  { name: 'started_at', type: 'timestamptz', of: ({ run }) => run.startedAtMs },
  { name: 'completed_at', type: 'timestamptz', of: ({ run }) => run.completedAtMs },
  { name: 'total_duration_ms', type: 'float8', of: ({ run }) => run.durationMs },
  { name: 'step_count', type: 'int4', of: ({ run }) => run.stepCount },
  { name: 'missing_steps', type: 'int4', of: ({ rest }) => rest.missingSteps },
  { name: 'version', type: 'int4', of: ({ rest }) => rest.version },
  { name: 'skill_name', type: 'text', of: ({ run }) => run.skill },
  { name: 'status', type: 'text', of: ({ rest }) => rest.status },
  { name: 'execution_id', type: 'text', of: ({ run }) => run.executionId },
  { name: 'steps', type: 'json', of: ({ run }) => run.steps },
  { name: 'metadata', type: 'jsonb', of: ({ run }) => run.metadata },
  { name: 'metadata_bits', type: 'int8', of: ({ run, rest }) => metadataBits(run.metadata, rest.version) },
]

/**
 * Null in most rows. A statement leaves out those that are null in all of its rows. What stood there is cleared all the same, for `excluded` has
 * them too.
 */
const RARE_TYPES = {
  parent_trace_id: 'uuid',
  root_trace_id: 'uuid',
  parent_step_id: 'text',
  error_message: 'text',
  merge_state: 'json',
  error_signature: 'int8',
  failure_pattern: 'int8',
  failed_step: 'text',
} satisfies Record<string, ColumnType>

type RareName = keyof typeof RARE_TYPES

const RARE_COLUMNS = (Object.keys(RARE_TYPES) as RareName[]).map(
  (name): Column => ({ name, type: RARE_TYPES[name], of: ({ rest }) => rest.rare?.[name] ?? null }),
)

const UPDATED = [...COLUMNS, ...RARE_COLUMNS]
  .map(({ name }) => name)
  .filter((name) => name !== 'trace_id' && name !== 'started_at')
  .concat('ingested_at')

const UPSERT_TAIL = ` on conflict (trace_id, started_at) do update set ${UPDATED.map(
  (name) => `${name} = excluded.${name}`,
).join(', ')} where t.version = excluded.version - 1`

/**
 * One multi-row upsert, of a parameter a column. Written as text: through the query builder's tree it takes three times as long as
 * Postgres does. An array a column rather than VALUES: docs/adr/0003-merge-law.md. Taken apart in the list of what is selected: as tables, joined row by row,
 * Postgres would copy every value once more.
 */
export function upsertQuery(table: string, rows: readonly RowToWrite[], ingestedAt: string): Statement {
  const some = rows.filter(({ rest }) => rest.rare !== null)
  const rare = RARE_COLUMNS.filter(({ of }) => some.some((row) => of(row) !== null))
  const columns = [...COLUMNS, ...rare]
  const names = columns.map(({ name }) => name)
  const values = columns.map(({ type }, i) => `unnest($${i + 2}::${type}[])`)
  return {
    text: `insert into ${table} as t (${names.join(', ')}, ingested_at) select ${values.join(', ')}, $1::timestamptz${UPSERT_TAIL}`,
    values: [ingestedAt, ...columns.map(({ type, of }) => columnArray(type, rows.map(of)))],
  }
}

/** What it holds, what it is found by (null unless it failed), and the version that it is to have. */
export function rowToWrite(row: TraceRow, marks: FailureMarks | null, version: number): RowToWrite {
  const rare = {
    parent_trace_id: row.parent_trace_id,
    root_trace_id: row.root_trace_id,
    parent_step_id: row.parent_step_id,
    error_message: row.error_message,
    merge_state: row.merge_state === null ? null : JSON.stringify(row.merge_state),
    error_signature: marks?.message?.signature ?? null,
    failure_pattern: marks?.message?.patternId ?? null,
    failed_step: marks?.step ?? null,
  }
  return {
    run: {
      t: row.trace_id,
      startedAtMs: row.started_at.getTime(),
      completedAtMs: row.completed_at?.getTime() ?? null,
      durationMs: row.total_duration_ms,
      stepCount: row.step_count,
      skill: row.skill_name,
      executionId: row.execution_id,
      steps: JSON.stringify(row.steps),
      metadata: JSON.stringify(row.metadata),
    },
    rest: {
      missingSteps: row.missing_steps,
      version,
      status: row.status,
      rare: Object.values(rare).every((value) => value === null) ? null : rare,
    },
  }
}

const OF_PLAIN_RUNS: RestOfRow = { missingSteps: 0, version: 1, status: 'success', rare: null }

/** The row that assembling the run gives, in its first version. */
export const runToWrite = (run: PlainRun): RowToWrite => ({ run, rest: OF_PLAIN_RUNS })
