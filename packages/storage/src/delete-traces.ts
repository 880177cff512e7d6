import { traceIdStart } from '@stepwell/protocol'
import { CompiledQuery } from 'kysely'
import { type Database, qualified } from './database.ts'
import { lateWriteStatement } from './late-writes.ts'
import { markStatement } from './rollup-marks.ts'

/** Removes the trace with this id, or all with this execution id, and their dead letters; gives their ids. One transaction. */
export async function deleteTraces(
  database: Database,
  which: { traceId: string } | { executionId: string },
): Promise<string[]> {
  return database.db.transaction().execute(async (trx) => {
    let query = trx.deleteFrom('execution_traces').returning(['trace_id', 'started_at'])
    if ('executionId' in which) query = query.where('execution_id', '=', which.executionId)
    else {
      const startMs = traceIdStart(which.traceId)
      query = query.where('trace_id', '=', which.traceId)
      if (startMs !== undefined) query = query.where('started_at', '=', new Date(startMs))
    }
    const rows = await query.execute()
    const deleted = rows.map((row) => row.trace_id)
    if (rows.length > 0) {
      const starts = rows.map((row) => new Date(row.started_at).getTime())
      const marks = qualified(database.schema, 'execution_rollup_marks')
      await trx.executeQuery(CompiledQuery.raw(markStatement(marks, starts, Date.now())))
      const keys = rows.map((row, i) => ({ traceId: row.trace_id, startedAtMs: starts[i] as number }))
      const notes = qualified(database.schema, 'execution_late_writes')
      const note = lateWriteStatement(notes, keys, Date.now())
      if (note !== undefined) await trx.executeQuery(CompiledQuery.raw(note))
    }
    const letters = 'traceId' in which ? [which.traceId, ...deleted] : deleted
    for (let i = 0; i < letters.length; i += 1_000) {
      await trx
        .deleteFrom('execution_dead_letters')
        .where('trace_id', 'in', letters.slice(i, i + 1_000))
        .execute()
    }
    return deleted
  })
}
