import { newTraceId } from '@stepwell/protocol'
import type { TraceStorage } from '@stepwell/storage'

/** What a test says of a trace; the rest is made up. */
export interface Stored {
  skill?: string
  at?: number
  status?: 'success' | 'failed' | 'timeout'
  error?: string
  durationMs?: number
  executionId?: string
  metadata?: Record<string, unknown>
  steps?: string[]
  /** One more, which failed. */
  failedStep?: string
  traceId?: string
}

export const HOUR = 3_600_000
/** The time that tests count from. */
export const now = Date.now()

/** Stores an ended trace; returns its id. */
export async function store(
  storage: TraceStorage,
  {
    skill = 'skill',
    at = now - HOUR,
    status = 'success',
    error,
    durationMs = 5,
    steps = [],
    ...rest
  }: Stored,
): Promise<string> {
  const traceId = rest.traceId ?? newTraceId(at)
  await storage.finalizeTrace(
    {
      traceId,
      skillName: skill,
      startedAt: new Date(at),
      completedAt: new Date(at + durationMs),
      totalDurationMs: durationMs,
      steps: [
        ...steps.map((name) => ({ name, status: 'success' as const, durationMs: 1 })),
        ...(rest.failedStep === undefined
          ? []
          : [{ name: rest.failedStep, status: 'failed' as const, durationMs: 1 }]),
      ],
      ...(error === undefined ? {} : { errorMessage: error }),
      ...(rest.executionId === undefined ? {} : { executionId: rest.executionId }),
      ...(rest.metadata === undefined ? {} : { metadata: rest.metadata as never }),
    },
    status,
  )
  return traceId
}
