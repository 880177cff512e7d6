import type { TraceStatus } from '@stepwell/protocol'
import { type RawBuilder, sql } from 'kysely'
import type * as z from 'zod'
import type { findSchema } from './input.ts'

/** Filters, validated. */
export type Filters = z.output<typeof findSchema>

/** What a trace must be like, by how it can be found. */
export interface TraceConditions {
  /** Of each there is an index that gives the traces in the order of time, so that the first are had without reading the others. */
  inOrder: RawBuilder<boolean>[]
  /** One of these, each with such an index; undefined: whatever the status. */
  statuses: readonly TraceStatus[] | undefined
  /** To be looked at trace by trace. */
  rest: RawBuilder<boolean>[]
  /** Whether one of the rest has an index that finds all traces that fulfil it, in any order: good where they are few. */
  hasIndexedRest: boolean
}

/** What filters ask of a trace. Times and pages are not among it. */
export function conditionsOf(filters: Omit<Filters, 'cursor' | 'limit'>): TraceConditions {
  const { skill, status, executionId, parentTraceId, rootTraceId } = filters
  const { minDurationMs, maxDurationMs, metadata, stepName } = filters
  const inOrder: RawBuilder<boolean>[] = []
  if (skill !== undefined) inOrder.push(sql`skill_name = ${skill}`)
  if (executionId !== undefined) inOrder.push(sql`execution_id = ${executionId}`)
  if (parentTraceId !== undefined) inOrder.push(sql`parent_trace_id = ${parentTraceId}::uuid`)
  if (rootTraceId !== undefined) inOrder.push(sql`root_trace_id = ${rootTraceId}::uuid`)

  const rest: RawBuilder<boolean>[] = []
  if (minDurationMs !== undefined) rest.push(sql`total_duration_ms >= ${minDurationMs}`)
  if (maxDurationMs !== undefined) rest.push(sql`total_duration_ms <= ${maxDurationMs}`)
  if (metadata !== undefined) rest.push(sql`metadata @> ${metadata}::jsonb`)
  const hasIndexedRest = rest.length > 0
  // A step is an array; its second element is the name (docs/PROTOCOL.md).
  if (stepName !== undefined)
    rest.push(sql`exists (select from json_array_elements(steps) as step where step ->> 1 = ${stepName})`)
  // Runs that went well are the many: they are in no index by status.
  const isMany = status?.includes('success') ?? false
  if (isMany) rest.push(sql`status = any(${status})`)
  return { inOrder, statuses: isMany ? undefined : status, rest, hasIndexedRest }
}
