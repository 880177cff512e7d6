import { traceIdStart } from '@stepwell/protocol'
import type { Database } from './database.ts'

/** Removes the trace with this id, or all with this execution id, and their dead letters; gives their ids. One transaction. */
export async function deleteTraces(
  { db }: Database,
  which: { traceId: string } | { executionId: string },
): Promise<string[]> {
  return db.transaction().execute(async (trx) => {
    let query = trx.deleteFrom('execution_traces').returning('trace_id')
    if ('executionId' in which) query = query.where('execution_id', '=', which.executionId)
    else {
      const startMs = traceIdStart(which.traceId)
      query = query.where('trace_id', '=', which.traceId)
      if (startMs !== undefined) query = query.where('started_at', '=', new Date(startMs))
    }
    const deleted = (await query.execute()).map((row) => row.trace_id)
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
