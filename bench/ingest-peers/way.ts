/** Ways to get the same runs into the same table that need no Stepwell. */
export const WAYS = ['xadd_per_event', 'bullmq_per_trace', 'bullmq_per_event'] as const
export type Way = (typeof WAYS)[number]

/** Something that happened in a run, as the peers send it. */
export type PeerEvent =
  | { traceId: string; event: 'start'; at: number; skillName: string; executionId: string; metadata: object }
  | {
      traceId: string
      event: 'step'
      at: number
      id: number
      name: string
      durationMs: number
      status: string
    }
  | { traceId: string; event: 'end'; at: number; status: string; durationMs: number }

/** Where entries and jobs go. */
export const STREAM = 'peer:events'
export const GROUP = 'peer'
export const QUEUE = 'peer'
export const BULL_PREFIX = '{peer}'
