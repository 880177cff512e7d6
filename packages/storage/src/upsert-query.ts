import { metadataBits, type TraceRow, type TraceStatus } from '@stepwell/protocol'
import { BoundValues } from './bound-values.ts'
import {
  bindArray,
  bindIds,
  bindNumbers,
  bindPlaces,
  bindValue,
  type ColumnType,
  type Place,
} from './column-array.ts'
import type { FailureMarks } from './failure-marks.ts'
import type { BoundStatement } from './send-at-once.ts'

/** Numbers of a row, and where in `bytes` its texts are, UTF-8. */
interface RowText {
  bytes: Buffer
  startedAtMs: number
  completedAtMs: number | null
  durationMs: number | null
  stepCount: number
  /** Trace id. */
  idFrom: number
  skillFrom: number
  skillTo: number
  /** 0 to 0: none. */
  executionIdFrom: number
  executionIdTo: number
  /** JSON of the list of steps, each in its canonical form. */
  stepsFrom: number
  stepsTo: number
  /** JSON; 0 to 0: `{}`. */
  metadataFrom: number
  metadataTo: number
}

/** A row to write: what a run that went well has too, and what not. */
export interface RowToWrite {
  run: RowText
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
  bind(bound: BoundValues, rows: readonly RowToWrite[], runs: readonly RowText[]): void
}

const column = (name: string, type: ColumnType, of: (row: RowToWrite) => unknown): Column => ({
  name,
  type,
  bind: (bound, rows) => bindArray(bound, type, rows.map(of)),
})

const textColumn = (name: string, type: 'text' | 'json' | 'jsonb', place: Place<RowText>): Column => ({
  name,
  type,
  bind: (bound, _, runs) => bindPlaces(bound, type, runs, place),
})

const numberColumn = (
  name: string,
  type: 'timestamptz' | 'float8' | 'int4',
  of: (row: RowToWrite) => number | null,
): Column => ({
  name,
  type,
  bind: (bound, rows) => bindNumbers(bound, type, rows, of),
})

const COLUMNS: readonly Column[] = [
  { name: 'trace_id', type: 'uuid', bind: (bound, _, runs) => bindIds(bound, runs) },
  numberColumn('started_at', 'timestamptz', ({ run }) => run.startedAtMs),
  numberColumn('completed_at', 'timestamptz', ({ run }) => run.completedAtMs),
  numberColumn('total_duration_ms', 'float8', ({ run }) => run.durationMs),
  numberColumn('step_count', 'int4', ({ run }) => run.stepCount),
  numberColumn('missing_steps', 'int4', ({ rest }) => rest.missingSteps),
  numberColumn('version', 'int4', ({ rest }) => rest.version),
  textColumn('skill_name', 'text', { from: (run) => run.skillFrom, to: (run) => run.skillTo, none: null }),
  column('status', 'text', ({ rest }) => rest.status),
  textColumn('execution_id', 'text', {
    from: (run) => run.executionIdFrom,
    to: (run) => run.executionIdTo,
    none: null,
  }),
  textColumn('steps', 'json', { from: (run) => run.stepsFrom, to: (run) => run.stepsTo, none: null }),
  textColumn('metadata', 'jsonb', {
    from: (run) => run.metadataFrom,
    to: (run) => run.metadataTo,
    none: Buffer.from('{}'),
  }),
  column('metadata_bits', 'int8', bitsOf),
]

// What the bits were made of last: programs say much the same of all their runs.
const LATEST_MAX = 256
const latest = Buffer.alloc(LATEST_MAX)
let latestLength = -1
let latestVersion = 0
let latestBits: bigint | null = null

function bitsOf({ run, rest: { version } }: RowToWrite): bigint | null {
  const { bytes, metadataFrom, metadataTo } = run
  const length = metadataTo - metadataFrom
  if (length === latestLength && version === latestVersion && isLatest(bytes, metadataFrom)) return latestBits
  const bits = metadataBits(
    metadataTo === 0 ? '{}' : bytes.toString('utf8', metadataFrom, metadataTo),
    version,
  )
  if (length > LATEST_MAX) return bits
  for (let i = 0; i < length; i++) latest[i] = bytes[metadataFrom + i] as number
  latestLength = length
  latestVersion = version
  latestBits = bits
  return bits
}

function isLatest(bytes: Buffer, from: number): boolean {
  for (let i = 0; i < latestLength; i++) if (latest[i] !== bytes[from + i]) return false
  return true
}

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

const RARE_COLUMNS = (Object.keys(RARE_TYPES) as RareName[]).map((name) => ({
  name,
  of: ({ rest }: RowToWrite): unknown => rest.rare?.[name] ?? null,
}))

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
export function upsertQuery(
  table: string,
  rows: readonly RowToWrite[],
  ingestedAtMs: number,
): BoundStatement {
  const some = rows.filter(({ rest }) => rest.rare !== null)
  const rare = RARE_COLUMNS.filter(({ of }) => some.some((row) => of(row) !== null))
  const columns = [...COLUMNS, ...rare.map(({ name, of }) => column(name, RARE_TYPES[name], of))]
  const runs = rows.map(({ run }) => run)
  const names = columns.map(({ name }) => name)
  const values = columns.map(({ type }, i) => `unnest($${i + 2}::${type}[])`)
  const bound = new BoundValues(1 + columns.length)
  bindValue(bound, 'timestamptz', ingestedAtMs)
  for (const { bind } of columns) bind(bound, rows, runs)
  return {
    text: `insert into ${table} as t (${names.join(', ')}, ingested_at) select ${values.join(', ')}, $1::timestamptz${UPSERT_TAIL}`,
    bound,
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
    run: textOfRow(row),
    rest: {
      missingSteps: row.missing_steps,
      version,
      status: row.status,
      rare: Object.values(rare).every((value) => value === null) ? null : rare,
    },
  }
}

function textOfRow(row: TraceRow): RowText {
  const executionId = row.execution_id ?? ''
  const texts = [
    row.trace_id,
    row.skill_name,
    JSON.stringify(row.steps),
    JSON.stringify(row.metadata),
    executionId,
  ]
  const bytes = Buffer.from(texts.join(''))
  const ends: number[] = []
  for (const text of texts) ends.push((ends.at(-1) ?? 0) + Buffer.byteLength(text))
  const [idTo, skillTo, stepsTo, metadataTo, executionIdTo] = ends as [number, number, number, number, number]
  return {
    bytes,
    startedAtMs: row.started_at.getTime(),
    completedAtMs: row.completed_at?.getTime() ?? null,
    durationMs: row.total_duration_ms,
    stepCount: row.step_count,
    idFrom: 0,
    skillFrom: idTo,
    skillTo,
    stepsFrom: skillTo,
    stepsTo,
    metadataFrom: stepsTo,
    metadataTo,
    executionIdFrom: metadataTo,
    executionIdTo: row.execution_id === null ? 0 : executionIdTo,
  }
}

/** What is said of a run besides its own, which MUST be whole, in its first version: with it the row is the one that assembling the run gives. */
export const OF_WHOLE_RUN: RestOfRow = { missingSteps: 0, version: 1, status: 'success', rare: null }
