import { metadataMask, type TraceStatus } from '@stepwell/protocol'
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
  /**
   * What has all of the rest has this too, and the index that gives the order tells it: what has it not need not be looked at. Undefined where no such index is, or there is
   * nothing to tell.
   */
  told: RawBuilder<boolean> | undefined
  /** Of these and of `inOrder` those that an index of the rest has too, which finds them together. */
  withRest: RawBuilder<boolean>[]
  /** What indexes find of the rest, alone, matches: there is nothing else to ask. */
  findsOrder: boolean
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
  const statuses = isMany ? undefined : status
  const isOfFailures = errorText !== undefined || (statuses?.length === 1 && statuses[0] === 'failed')
  const withRest: RawBuilder<boolean>[] = []
  // Those that the index of duration classes has too.
  if (minDurationMs !== undefined || maxDurationMs !== undefined) {
    if (skill !== undefined) withRest.push(sql`skill_name = ${skill}`)
    if (status !== undefined) withRest.push(sql`status = any(${status})`)
  }
  // Of the metadata of failures there is an index by itself.
  if (isOfFailures && metadata !== undefined) withRest.push(sql`status = 'failed'`)
  const isOther = [executionId, parentTraceId, rootTraceId, failedStep].some((value) => value !== undefined)
  const isTold = !isOther && (isOfFailures || (skill !== undefined && statuses === undefined))
  const told = isTold && metadata !== undefined ? hasBits(metadata) : undefined
  const isFound = rest.every(({ find }) => find !== undefined)
  const findsOrder = isFound && skill === undefined && !isOther && (statuses === undefined || isOfFailures)
  return { inOrder, statuses, rest, told, withRest, findsOrder }
}

/** That the bits of the metadata tell nothing against these; undefined where they never do. */
function hasBits(metadata: string): RawBuilder<boolean> | undefined {
  const mask = metadataMask(metadata)
  if (mask === undefined) return undefined
  // Bits of another version than the row's are those of metadata that are there no more.
  return sql`(metadata_bits is null or metadata_bits >> 56 <> version or metadata_bits & ${mask}::bigint = ${mask}::bigint)`
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
