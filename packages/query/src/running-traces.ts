import { openStep, type Step, type StepTuple, stepOfTuple, type TraceSummary } from '@stepwell/protocol'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { summaryOf, type Tables } from './tables.ts'
import { allOf, FOUND_COLUMNS, type FoundRow } from './trace-list.ts'

/** A trace that runs, and where it is. */
export interface RunningTrace {
  trace: TraceSummary
  /** The step that it is in: of the open ones the one that started last. Absent between steps. */
  step?: Step
}

/** Traces that run. */
export interface RunningList {
  /** Oldest first. */
  running: RunningTrace[]
  /** There are more. */
  truncated: boolean
}

/** The oldest running traces. Reads an index of running traces; of their steps only the open ones leave the server. */
export async function runningTraces(
  db: Kysely<Tables>,
  table: string,
  { skill, limit }: { skill?: string | undefined; limit: number },
): Promise<RunningList> {
  const conditions = [sql<boolean>`status = 'running'`]
  if (skill !== undefined) conditions.push(sql`skill_name = ${skill}`)
  const { rows } = await sql<RunningRow>`
    select ${sql.join(RUNNING_COLUMNS)}
      from (select * from ${sql.table(table)} where ${allOf(conditions)} order by started_at, trace_id limit ${limit + 1}) as t
     order by started_at, trace_id`.execute(db)
  return { running: rows.slice(0, limit).map(runningOf), truncated: rows.length > limit }
}

/** A row of a running trace. */
export type RunningRow = FoundRow & { open_steps: unknown }

/** What such a row is made of. A step without a duration, its fourth element, is open (docs/PROTOCOL.md). */
export const RUNNING_COLUMNS: readonly RawBuilder<unknown>[] = [
  ...FOUND_COLUMNS.map((column) => sql`${column}`),
  sql`(select json_agg(step) from json_array_elements(steps) as step where step ->> 3 is null) as open_steps`,
]

/** The row as people and tools see it. */
export function runningOf(row: RunningRow): RunningTrace {
  const trace = summaryOf(row)
  const tuples = (typeof row.open_steps === 'string' ? JSON.parse(row.open_steps) : row.open_steps) as
    | StepTuple[]
    | null
  const open = openStep({ steps: tuples ?? [] })
  return open === undefined ? { trace } : { trace, step: stepOfTuple(open, trace.startedAt.getTime()) }
}
