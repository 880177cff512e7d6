import type { TraceStatus } from '@stepwell/protocol'
import { wordHashes, wordsOf } from '@stepwell/protocol/failures'
import { type RawBuilder, sql } from 'kysely'
import type * as z from 'zod'
import { tookFrom, tookUpTo } from './duration-class.ts'
import type { findSchema } from './input.ts'

/** Filters, validated. */
export type Filters = z.output<typeof findSchema>

/** A condition for which no index gives traces in the order of time. */
export interface RestCondition {
  /** As it is looked at trace by trace. */
  check: RawBuilder<boolean>
  /** As an index finds all traces that fulfil it, in any order: good where they are few. Absent where there is none. */
  find?: RawBuilder<boolean>
}

/** What a trace must be like, by how it can be found. */
export interface TraceConditions {
  /** Of each there is an index that gives the traces in the order of time, so that the first are had without reading the others. */
  inOrder: RawBuilder<boolean>[]
  /** One of these, each with such an index; undefined: whatever the status. */
  statuses: readonly TraceStatus[] | undefined
  rest: RestCondition[]
  /** Of these and of `inOrder` those that an index of the rest has too, which finds them together. */
  withDuration: RawBuilder<boolean>[]
}

/**
 * What filters ask of a trace. Times and pages are not among it. `signatures` is the table of failure signatures, with its schema; those of `mistaken` have the
 * hashes of the words that are asked for, and not the words.
 */
export function conditionsOf(
  filters: Omit<Filters, 'cursor' | 'limit'>,
  signatures: string,
  mistaken: readonly string[] = [],
): TraceConditions {
  const { skill, status, executionId, parentTraceId, rootTraceId, failedStep } = filters
  const { minDurationMs, maxDurationMs, metadata, stepName, errorText } = filters
  const inOrder: RawBuilder<boolean>[] = []
  if (skill !== undefined) inOrder.push(sql`skill_name = ${skill}`)
  if (executionId !== undefined) inOrder.push(sql`execution_id = ${executionId}`)
  if (parentTraceId !== undefined) inOrder.push(sql`parent_trace_id = ${parentTraceId}::uuid`)
  if (rootTraceId !== undefined) inOrder.push(sql`root_trace_id = ${rootTraceId}::uuid`)
  if (failedStep !== undefined) inOrder.push(sql`failed_step = ${failedStep}`)
  // Only failures have a signature; where it is said their index is used.
  if (errorText !== undefined) inOrder.push(sql`status = 'failed'`)
  if (mistaken.length > 0) inOrder.push(sql`error_signature <> all(${mistaken}::bigint[])`)

  const rest: RestCondition[] = []
  if (minDurationMs !== undefined) rest.push(tookFrom(minDurationMs))
  if (maxDurationMs !== undefined) rest.push(tookUpTo(maxDurationMs))
  if (metadata !== undefined) {
    const contains = sql<boolean>`metadata @> ${metadata}::jsonb`
    rest.push({ check: contains, find: contains })
  }
  if (errorText !== undefined) rest.push(hasWords(errorText, signatures))
  if (stepName !== undefined) rest.push({ check: hasStep(stepName) })
  // Runs that went well are the many: they are in no index by status.
  const isMany = status?.includes('success') ?? false
  if (isMany) rest.push({ check: sql`status = any(${status})` })
  // Those that the index of duration classes has too.
  const withDuration =
    minDurationMs === undefined && maxDurationMs === undefined
      ? []
      : [
          ...(skill === undefined ? [] : [sql<boolean>`skill_name = ${skill}`]),
          ...(status === undefined ? [] : [sql<boolean>`status = any(${status})`]),
          ...(errorText === undefined ? [] : [sql<boolean>`status = 'failed'`]),
        ]
  return { inOrder, statuses: isMany ? undefined : status, rest, withDuration }
}

/**
 * That the message has the hashes of all words of a text. Messages with the same words share a signature, which has these: those with all
 * of them are found by an index, and their traces by another.
 */
function hasWords(text: string, signatures: string): RestCondition {
  // The operator of the server itself: that of the extension intarray would hide the index.
  const holds = sql`operator(pg_catalog.@>) ${sql.lit(`{${wordHashes(wordsOf(text)).join()}}`)}::integer[]`
  const table = sql.table(signatures)
  return {
    check: sql`(select words from ${table} as s where s.signature = error_signature) ${holds}`,
    find: sql`error_signature = any(array(select signature from ${table} where words ${holds}))`,
  }
}

// A step is an array; its second element is the name (docs/PROTOCOL.md). That the text of all holds it takes a tenth of the time, and is
// told first.
const hasStep = (name: string): RawBuilder<boolean> => sql`strpos(steps::text, ${JSON.stringify(name)}) > 0
  and exists (select from json_array_elements(steps) as step where step ->> 1 = ${name})`
