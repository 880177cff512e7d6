import {
  boundText,
  type Delta,
  END_TRACE,
  ERROR_MAX_LENGTH,
  FINAL_STATUSES,
  type FinalStatus,
  InvalidInputError,
  InvalidStatusError,
  makeRedactor,
  parseTraceId,
  type RedactOptions,
  type Redactor,
  redactMessage,
  type Trace,
  type TraceEnd,
  type TraceRow,
  textOf,
  traceIdStart,
  traceOfRow,
} from '@stepwell/protocol'
import { deltaSchema, explain, startOf } from '@stepwell/protocol/schema'
import { type Database, type DatabaseConfig, openDatabase } from './database.ts'
import { deleteTraces } from './delete-traces.ts'
import { deltaOfTrace, type TraceInput } from './delta-of-trace.ts'
import { TraceWriter } from './trace-writer.ts'

/** What `finalizeTrace` stored. */
export interface FinalizedTrace {
  traceId: string
  /** Milliseconds. */
  totalDurationMs: number
  status: FinalStatus
}

/** Where and how traces are stored. */
export interface TraceStorageOptions {
  /** Postgres schema of the tables. Default: the search path. */
  schema?: string
  /** Steps that a trace keeps. Default: 10,000. */
  maxSteps?: number
  /**
   * Milliseconds after which a statement is given up (57014; ETIMEDOUT five seconds later where the server stands still), as is an attempt to
   * connect after ten seconds. Not for a lent pool. Default: 60,000.
   */
  timeoutMs?: number
  /** What is taken out of metadata, attributes and error messages, as in a tracer. Default: true, the usual secrets. */
  redact?: boolean | RedactOptions
}

const CONNECT_MS = 10_000
const TIMEOUT_MS = 60_000

/**
 * Stores and reads traces directly and awaited, without Redis, through the same upsert as the worker: a trace that is
 * both emitted and finalized here is one row. The database is a connection string, `{ host, port, database, user, … }`
 * or a `pg` Pool, which stays the caller's. Database errors surface as `pg` gives them.
 */
export class TraceStorage {
  readonly #database: Database
  readonly #writer: TraceWriter
  readonly #redactor: Redactor | undefined

  constructor(database: DatabaseConfig, options: TraceStorageOptions = {}) {
    this.#redactor = makeRedactor(options.redact)
    const { timeoutMs: statementMs = TIMEOUT_MS } = options
    this.#database = openDatabase(database, options.schema, { connectMs: CONNECT_MS, statementMs })
    this.#writer = new TraceWriter(
      this.#database,
      options.maxSteps === undefined ? {} : { maxSteps: options.maxSteps },
    )
  }

  /**
   * Stores the trace as ended with `finalStatus` ('success', 'failed' or 'timeout'); resolves after the commit. The end is
   * `completedAt` of the trace, else now; the duration `totalDurationMs`, else from start to end. Idempotent for a trace
   * that has both. A tracer's live trace (`getCurrentTrace()`) is ended in its tracer too, with the same end.
   * Throws InvalidStatusError or InvalidInputError before anything is stored.
   */
  async finalizeTrace(trace: TraceInput, finalStatus: FinalStatus): Promise<FinalizedTrace> {
    if (!FINAL_STATUSES.includes(finalStatus)) throw new InvalidStatusError(finalStatus, FINAL_STATUSES)
    if (typeof trace !== 'object' || trace === null) {
      throw new InvalidInputError(
        'finalizeTrace needs a trace: tracer.getCurrentTrace(), or an object with traceId, skillName and startedAt',
      )
    }
    const delta = deltaOfTrace(trace, this.#redactor)
    const startedAtMs = startOf(delta) as number
    const end = endOf(trace, finalStatus, startedAtMs, this.#redactor)
    delta.e = [
      finalStatus.charAt(0) as 's' | 'f' | 't',
      end.completedAtMs === null ? null : end.completedAtMs - startedAtMs,
      end.durationMs,
      end.errorMessage,
    ]
    const checked = deltaSchema.safeParse(delta)
    if (!checked.success) throw new InvalidInputError(`The trace cannot be stored: ${explain(checked.error)}`)
    await this.#writer.write([
      { traceId: delta.t, startedAtMs, said: [{ producer: '', delta: checked.data as Delta }], known: false },
    ])
    ;(trace as { [END_TRACE]?: (end: TraceEnd) => void })[END_TRACE]?.(end)
    return { traceId: delta.t, totalDurationMs: end.durationMs as number, status: finalStatus }
  }

  /**
   * The trace with its steps, or undefined. For ids that Stepwell made one partition is looked at, for others all.
   * Throws InvalidInputError for what is no UUID.
   */
  async getTrace(traceId: string): Promise<Trace | undefined> {
    const id = parseTraceId(String(traceId))
    if (id === undefined) throw new InvalidInputError(`'${traceId}' is no trace id: a UUID is needed`)
    const startMs = traceIdStart(id)
    let query = this.#database.db
      .selectFrom('execution_traces')
      .selectAll()
      .where('trace_id', '=', id)
      .orderBy('started_at', 'desc')
      .limit(1)
    if (startMs !== undefined) query = query.where('started_at', '=', new Date(startMs))
    const row = await query.executeTakeFirst()
    return row && traceOfRow(row as unknown as TraceRow)
  }

  /**
   * Removes a trace for good, what the dead letters hold of it too; true if it was there. Resolves after the commit. What is still
   * on its way through Redis is stored afterwards all the same. Throws InvalidInputError for what is no UUID.
   */
  async deleteTrace(traceId: string): Promise<boolean> {
    const id = parseTraceId(String(traceId))
    if (id === undefined) throw new InvalidInputError(`'${traceId}' is no trace id: a UUID is needed`)
    return (await deleteTraces(this.#database, { traceId: id })).length > 0
  }

  /** Removes all traces with this execution id, as `deleteTrace` does, and gives their ids. */
  async deleteExecution(executionId: string): Promise<string[]> {
    return deleteTraces(this.#database, { executionId: textOf(executionId) })
  }

  /** Closes the connections; a lent pool stays open. Idempotent. */
  close(): Promise<void> {
    return this.#database.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function endOf(
  trace: TraceInput,
  status: FinalStatus,
  startedAtMs: number,
  redactor: Redactor | undefined,
): TraceEnd {
  const completedAtMs = trace.completedAt === undefined ? Date.now() : new Date(trace.completedAt).getTime()
  if (Number.isNaN(completedAtMs)) throw new InvalidInputError('completedAt is not a valid date')
  return {
    status,
    completedAtMs,
    durationMs: trace.totalDurationMs ?? Math.max(0, completedAtMs - startedAtMs),
    errorMessage:
      trace.errorMessage === undefined
        ? null
        : boundText(redactMessage(trace.errorMessage, redactor), ERROR_MAX_LENGTH),
  }
}
