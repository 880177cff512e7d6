import type { Redactor, TraceContextData } from '@stepwell/protocol'
import type { RecentBudget } from './recent-steps.ts'

/** What begins a trace. */
export interface TraceBeginning {
  traceId: string
  startedAtMs: number
  /** Bounded; '' for a trace that this process only attached to. */
  skill: string
  executionId: string | undefined
  metadata: unknown
  /** The service as metadata, unless those have one of their own. */
  serviceText: string | undefined
  redactor: Redactor | undefined
  parent: TraceContextData | undefined
  limitMs: number | undefined
  /** '' for the owner, else `<producer>.`: what its step ids begin with. */
  idPrefix: string
  /** For the steps that can be asked for; undefined: none can. */
  recentBudget: RecentBudget | undefined
  /** Monotonic clock at the start, if that is now: offsets follow it. */
  startPerfMs: number | undefined
  /** Numbers for its steps; undefined: its own, 1, 2, … */
  nextStepNumber: (() => number) | undefined
}
