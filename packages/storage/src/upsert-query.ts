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

/** A row to write: its numbers, and where in `bytes` its texts are, UTF-8. What a run has that is whole and went well (`RunPart`) is one as it is. */
export interface RowToWrite {
  readonly bytes: Buffer
  readonly startedAtMs: number
  readonly completedAtMs: number | null
  readonly durationMs: number | null
  readonly stepCount: number
  /** Trace id. */
  readonly idFrom: number
  readonly skillFrom: number
  readonly skillTo: number
  /** 0 to 0: none. */
  readonly executionIdFrom: number
  readonly executionIdTo: number
  /** JSON of the list of steps, each in its canonical form. */
  readonly stepsFrom: number
  readonly stepsTo: number
  /** JSON; 0 to 0: `{}`. */
  readonly metadataFrom: number
  readonly metadataTo: number
  /** Undefined of a whole run that went well, in its first version: with this the row is the one that assembling the run gives. */
  readonly rest?: RestOfRow | undefined
}

/** What does not follow from a run being whole, and going well, and being new. */
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
  bind(bound: BoundValues, rows: readonly RowToWrite[]): void
}

const column = (name: string, type: ColumnType, of: (row: RowToWrite) => unknown): Column => ({
  name,
  type,
  bind: (bound, rows) => bindArray(bound, type, rows, of),
})

const textColumn = (name: string, type: 'text' | 'json' | 'jsonb', place: Place<RowToWrite>): Column => ({
  name,
  type,
  bind: (bound, rows) => bindPlaces(bound, type, rows, place),
})

const numberColumn = (
  name: string,
  type: 'timestamptz' | 'float8' | 'int4' | 'int8',
  of: (row: RowToWrite) => number | bigint | null,
): Column => ({
  name,
  type,
  bind: (bound, rows) => bindNumbers(bound, type, rows, of),
})

const COLUMNS: readonly Column[] = [
  { name: 'trace_id', type: 'uuid', bind: bindIds },
  numberColumn('started_at', 'timestamptz', (row) => row.startedAtMs),
  numberColumn('completed_at', 'timestamptz', (row) => row.completedAtMs),
  numberColumn('total_duration_ms', 'float8', (row) => row.durationMs),
  numberColumn('step_count', 'int4', (row) => row.stepCount),
  numberColumn('missing_steps', 'int4', ({ rest }) => (rest === undefined ? 0 : rest.missingSteps)),
  numberColumn('version', 'int4', versionOf),
  textColumn('skill_name', 'text', { from: (row) => row.skillFrom, to: (row) => row.skillTo, none: null }),
  column('status', 'text', ({ rest }) => (rest === undefined ? 'success' : rest.status)),
  textColumn('execution_id', 'text', {
    from: (row) => row.executionIdFrom,
    to: (row) => row.executionIdTo,
    none: null,
  }),
  textColumn('steps', 'json', { from: (row) => row.stepsFrom, to: (row) => row.stepsTo, none: null }),
  textColumn('metadata', 'jsonb', {
    from: (row) => row.metadataFrom,
    to: (row) => row.metadataTo,
    none: Buffer.from('{}'),
  }),
  numberColumn('metadata_bits', 'int8', bitsOf),
]

function versionOf({ rest }: RowToWrite): number {
  return rest === undefined ? 1 : rest.version
}

// What the bits were made of last: programs say much the same of all their runs.
const LATEST_MAX = 256
const latest = Buffer.alloc(LATEST_MAX)
let latestLength = -1
let latestVersion = 0
let latestBits: bigint | null = null

function bitsOf(row: RowToWrite): bigint | null {
  const { bytes, metadataFrom, metadataTo } = row
  const version = versionOf(row)
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
  of: ({ rest }: RowToWrite): unknown => rest?.rare?.[name] ?? null,
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
  const some = rows.filter(({ rest }) => rest !== undefined && rest.rare !== null)
  const rare = RARE_COLUMNS.filter(({ of }) => some.some((row) => of(row) !== null))
  const columns = [...COLUMNS, ...rare.map(({ name, of }) => column(name, RARE_TYPES[name], of))]
  const names = columns.map(({ name }) => name)
  const values = columns.map(({ type }, i) => `unnest($${i + 2}::${type}[])`)
  const bound = new BoundValues(1 + columns.length)
  bindValue(bound, 'timestamptz', ingestedAtMs)
  for (const { bind } of columns) bind(bound, rows)
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
    ...textOfRow(row),
    rest: {
      missingSteps: row.missing_steps,
      version,
      status: row.status,
      rare: Object.values(rare).every((value) => value === null) ? null : rare,
    },
  }
}

function textOfRow(row: TraceRow): Omit<RowToWrite, 'rest'> {
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
