import {
  assemble,
  compareIds,
  MAX_STEPS,
  newTraceId,
  RunPart,
  rowOfState,
  type Said,
  sameRow,
  stateOfRow,
  type TraceRow,
  type TraceState,
} from '@stepwell/protocol'
import { CompiledQuery, sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { FailureCatalogue } from './failure-catalogue.ts'
import { failureMarks, type MessageMarks } from './failure-marks.ts'
import { refuseTorsos } from './gone-traces.ts'
import { isLate, lateWriteStatement } from './late-writes.ts'
import { MonthCover } from './month-cover.ts'
import { markStatement } from './rollup-marks.ts'
import { sendAtOnce } from './send-at-once.ts'
import { isMissingPartition } from './transient-error.ts'
import { type RowToWrite, rowToWrite, upsertQuery } from './upsert-query.ts'

/** Everything that is to be stored of one trace in one go. */
export interface TraceDeltas {
  readonly traceId: string
  /** Milliseconds since 1970; with the id the key of the row, and its month the partition. */
  readonly startedAtMs: number
  /** At least one. All of this trace. */
  said: Said[]
  /** Where this run, which is whole, and nothing else is said: it is stored as it stands, and `said`, which may be made when it is asked for, is not. */
  run?: RunPart | undefined
  /** Whether a row is likely to be there: then it is read first. A wrong guess costs a round trip and nothing else. */
  known: boolean
  /** Asked when all that is known is assembled: what else is to be said of the trace, for example that it has timed out. */
  amend?: ((state: TraceState) => Said | undefined) | undefined
}

/** The order of the keys of rows: by start, then by id. */
export function compareKeys(a: TraceDeltas, b: TraceDeltas): number {
  // No difference: numbers with a fraction, as the engine sees them, are objects.
  if (a.startedAtMs !== b.startedAtMs) return a.startedAtMs < b.startedAtMs ? -1 : 1
  // By the bytes, where they are there: a text for each would be made only for this.
  if (a.run !== undefined && b.run !== undefined) return compareIds(a.run, b.run)
  return a.traceId < b.traceId ? -1 : Number(a.traceId > b.traceId)
}

/** What is stored of a trace after a write. */
export interface Written {
  readonly traceId: string
  readonly startedAtMs: number
  readonly state: TraceState
}

/** Most traces that one statement writes: so long it keeps the rows locked, and so much is done again where one of them is in the way. */
export const WRITE_MAX_TRACES = 1_000

// Another writer of the same row wins a round; that all of them lose for ever is impossible, for each lost round is
// somebody's won one. This bound only turns an endless loop of a bug into an error.
const MAX_ROUNDS = 100

/** Of most traces nobody asks what is stored: it is assembled when it is asked for. */
class WrittenTrace implements Written {
  readonly #input: TraceDeltas
  readonly #state: TraceState | undefined
  readonly #maxSteps: number

  constructor(input: TraceDeltas, state: TraceState | undefined, maxSteps: number) {
    this.#input = input
    this.#state = state
    this.#maxSteps = maxSteps
  }

  get traceId(): string {
    return this.#input.traceId
  }

  get startedAtMs(): number {
    return this.#input.startedAtMs
  }

  get state(): TraceState {
    return this.#state ?? assemble(this.#input.said, undefined, this.#maxSteps)
  }
}

/** The next version of a trace. */
interface Version {
  state: TraceState
  row: TraceRow
  version: number
}

/** The same, as it is written. */
interface Assembled extends RowToWrite {
  readonly input: TraceDeltas
  readonly state: TraceState
  readonly message: MessageMarks | null
}

/** Of a run that is stored as it stands nobody has to know more. */
type Row = RunPart | Assembled

/**
 * The one way into `execution_traces`. Writes what is known of traces by compare-and-set: a row goes in if its version is
 * the next one; else it is read, assembled again with what is there, and tried again. So any number of writers can
 * store the same deltas, in any order and any number of times, and the row is what assembling them all at once gives
 * (docs/adr/0003-merge-law.md).
 */
export class TraceWriter {
  readonly #database: Database
  readonly #maxSteps: number
  readonly #months: MonthCover
  readonly #catalogue: FailureCatalogue

  constructor(database: Database, options: { maxSteps?: number } = {}) {
    this.#database = database
    this.#months = new MonthCover(database)
    this.#catalogue = new FailureCatalogue(database)
    this.#maxSteps = options.maxSteps ?? MAX_STEPS
  }

  /**
   * Stores at most WRITE_MAX_TRACES traces, each at most once in the list; resolves after the commit, with what is stored
   * then, in the order of the input. Idempotent. Missing partitions are made. Not atomic: on an error some traces may
   * be stored. Throws what `pg` throws, and TraceGoneError.
   */
  async write(traces: readonly TraceDeltas[]): Promise<Written[]> {
    if (traces.length > WRITE_MAX_TRACES) throw new RangeError(`at most ${WRITE_MAX_TRACES} traces a write`)
    const nowMs = Date.now()
    const rows: Row[] = []
    /** Those that the rows are of. */
    const pending: TraceDeltas[] = []
    let stored: TraceDeltas[] = []
    // By number: an iterator makes an object for each.
    for (let i = 0; i < traces.length; i++) {
      const trace = traces[i] as TraceDeltas
      const { startedAtMs } = trace
      if (!this.#months.has(startedAtMs)) await this.#months.make(startedAtMs)
      // Of a month that is over a row may have been removed: whether it is there decides.
      if (trace.known || isLate(startedAtMs, nowMs)) stored.push(trace)
      else {
        rows.push(this.#first(trace))
        pending.push(trace)
      }
    }
    const written = new Map<TraceDeltas, TraceState>()
    for (let round = 0; rows.length + stored.length > 0; round++) {
      if (round === MAX_ROUNDS) throw new Error(`a trace could not be stored in ${MAX_ROUNDS} rounds`)
      for (const row of await this.#withStored(stored, written)) {
        rows.push(row)
        pending.push(row.input)
      }
      const isStored = rows.length === 0 || (await this.#upsert(rows, pending, written))
      rows.length = 0
      stored = isStored ? [] : [...pending]
      pending.length = 0
    }
    return traces.map((input) => new WrittenTrace(input, written.get(input), this.#maxSteps))
  }

  /**
   * Makes the months of these traces where they are missing. Gives the traces whose month cannot be made, with what `pg` says
   * to it: they cannot be written now, the others can. Does not reject.
   */
  async cover(traces: readonly TraceDeltas[]): Promise<Map<TraceDeltas, unknown>> {
    const lacking = new Map<TraceDeltas, unknown>()
    for (let i = 0; i < traces.length; i++) {
      const trace = traces[i] as TraceDeltas
      if (this.#months.has(trace.startedAtMs)) continue
      const reason = await this.#months.lack(trace.startedAtMs)
      if (reason !== undefined) lacking.set(trace, reason)
    }
    return lacking
  }

  /**
   * Whether a harmless trace could be stored now: writes one and takes it back. Throws what `pg` throws; then a failed
   * write says nothing about what was written.
   */
  async probe(): Promise<void> {
    const startedAtMs = Date.now()
    const traceId = newTraceId(startedAtMs)
    const delta = { t: traceId, b: 1, k: 'stepwell.probe', n: [0, 0] } as const
    const probe: TraceDeltas = {
      traceId,
      startedAtMs,
      said: [{ producer: '', delta: { ...delta, n: [0, 0] } }],
      known: false,
    }
    await this.#months.make(startedAtMs)
    const rollback = new Error('rollback')
    try {
      await this.#database.db.transaction().execute(async (trx) => {
        const { text, bound } = upsertQuery(this.#table, [this.#first(probe)], startedAtMs)
        await trx.executeQuery(CompiledQuery.raw(text, bound.values))
        throw rollback
      })
    } catch (error) {
      if (error !== rollback) throw error
    }
  }

  get #table(): string {
    return qualified(this.#database.schema, 'execution_traces')
  }

  /** The first version of a trace. */
  #first(input: TraceDeltas): Row {
    const { run, amend } = input
    if (run === undefined || amend !== undefined || run.stepCount > this.#maxSteps)
      return assembled(input, this.#version(input, undefined))
    return run
  }

  #version(input: TraceDeltas, stored: { row: TraceRow; version: number } | undefined): Version {
    let state = assemble(input.said, stored && stateOfRow(stored.row), this.#maxSteps)
    const more = input.amend?.(state)
    if (more !== undefined) state = assemble([more], state, this.#maxSteps)
    const row = rowOfState(state)
    return { state, row, version: (stored?.version ?? 0) + 1 }
  }

  /** The next version of those whose row is there and would change; those that would not are done. */
  async #withStored(
    traces: readonly TraceDeltas[],
    written: Map<TraceDeltas, TraceState>,
  ): Promise<Assembled[]> {
    if (traces.length === 0) return []
    const rows = await this.#read(traces)
    const keyed = (trace: TraceDeltas): string => keyOf(trace.traceId, trace.startedAtMs)
    await refuseTorsos(
      this.#database.db,
      traces.filter((trace) => !rows.has(keyed(trace))),
    )
    const changed: Assembled[] = []
    for (const input of traces) {
      const stored = rows.get(keyed(input))
      const next = this.#version(input, stored)
      if (stored !== undefined && sameRow(next.row, stored.row)) written.set(input, next.state)
      else changed.push(assembled(input, next))
    }
    return changed
  }

  /**
   * One statement, and the marks of what it touches; gives false, and then all are still to be looked at, where any row had another version. Which one,
   * reading them tells; were the statement to tell it each time, that would take a seventh of the write. At least one row.
   */
  async #upsert(
    rows: Row[],
    traces: readonly TraceDeltas[],
    written: Map<TraceDeltas, TraceState>,
  ): Promise<boolean> {
    // Two writers that lock the same rows in different orders deadlock.
    if (!isSorted(rows)) rows.sort(compareRows)
    const starts: number[] = []
    const failures: { marks: MessageMarks; startedAtMs: number }[] = []
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Row
      const { startedAtMs } = row
      starts.push(startedAtMs)
      if (!(row instanceof RunPart) && row.message !== null)
        failures.push({ marks: row.message, startedAtMs })
    }
    if (failures.length > 0) await this.#catalogue.enter(failures, Date.now())
    const nowMs = Date.now()
    const query = upsertQuery(this.#table, rows, nowMs)
    const { schema } = this.#database
    const before = [
      markStatement(qualified(schema, 'execution_rollup_marks'), starts, nowMs),
      lateWriteStatement(qualified(schema, 'execution_late_writes'), traces, nowMs) ?? [],
    ].flat()
    let stored: number
    try {
      stored = await sendAtOnce(this.#database, before, query)
    } catch (error) {
      // Somebody dropped a month that was there: forget what we know, so that the next try makes it again.
      if (isMissingPartition(error)) this.#months.forget()
      throw error
    }
    if (stored !== rows.length) return false
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Row
      if (!(row instanceof RunPart)) written.set(row.input, row.state)
    }
    return true
  }

  async #read(traces: readonly TraceDeltas[]): Promise<Map<string, { row: TraceRow; version: number }>> {
    const { db } = this.#database
    const keys = traces.map(
      (t) => sql`(${t.traceId}::uuid, ${new Date(t.startedAtMs).toISOString()}::timestamptz)`,
    )
    const { rows } = await sql<TraceRow & { version: number }>`
      select trace_id, started_at, skill_name, execution_id, status, completed_at, total_duration_ms, step_count,
             missing_steps, error_message, metadata, parent_trace_id, parent_step_id, root_trace_id, steps, merge_state, version
        from ${sql.table(this.#table)}
       where (trace_id, started_at) in (${sql.join(keys)})`.execute(db)
    return new Map(
      rows.map(({ version, ...row }) => [
        keyOf(row.trace_id, row.started_at.getTime()),
        { row: row as TraceRow, version },
      ]),
    )
  }
}

function assembled(input: TraceDeltas, { state, row, version }: Version): Assembled {
  const marks = failureMarks(row)
  return { ...rowToWrite(row, marks, version), input, state, message: marks?.message ?? null }
}

/** The order of the keys, as `compareKeys` has it. */
function compareRows(a: Row, b: Row): number {
  return a.startedAtMs === b.startedAtMs ? compareIds(a, b) : a.startedAtMs < b.startedAtMs ? -1 : 1
}

function isSorted(rows: readonly Row[]): boolean {
  for (let i = 1; i < rows.length; i++) if (compareRows(rows[i - 1] as Row, rows[i] as Row) > 0) return false
  return true
}

const keyOf = (traceId: string, startedAtMs: number): string => `${traceId}@${startedAtMs}`
