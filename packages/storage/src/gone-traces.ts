import { type Month, monthOf, type Said, StepwellError } from '@stepwell/protocol'
import type { Kysely } from 'kysely'
import { monthDate, retentionRecords } from './retention-records.ts'
import type { Tables } from './tables.ts'

/** A part of a trace that is not there, of a month from which retention has removed traces. Code `TRACE_GONE`; nothing was stored. */
export class TraceGoneError extends StepwellError {
  constructor(month: Month) {
    super(
      'TRACE_GONE',
      `retention has removed traces of ${monthDate(month).slice(0, 7)}, and this is only a part of one that is not there`,
    )
  }
}

/**
 * Throws TraceGoneError if of one of these traces, which have no row, only a part is known and the rest may have been removed: what
 * is delivered once more, or replayed, must not come back as a torso. With its beginning and its end in hand a trace is welcome.
 */
export async function refuseTorsos(
  db: Kysely<Tables>,
  traces: readonly { startedAtMs: number; said: readonly Said[] }[],
): Promise<void> {
  const months = new Map<string, Month>()
  for (const { startedAtMs, said } of traces) {
    if (!isTorso(said)) continue
    const month = monthOf(startedAtMs)
    months.set(monthDate(month), month)
  }
  if (months.size === 0) return
  const records = await retentionRecords(db, [...months.values()])
  for (const [date, month] of months)
    if ((records.get(date)?.removed ?? 0) > 0) throw new TraceGoneError(month)
}

function isTorso(said: readonly Said[]): boolean {
  const begun = said.some(({ delta }) => delta.b === 1)
  const ended = said.some(({ delta }) => delta.e !== undefined || delta.h === 1)
  return !(begun && ended)
}
