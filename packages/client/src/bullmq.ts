import { type TraceContextData, textOf } from '@stepwell/protocol'
import type { ExecutionTracer } from './tracer.ts'

/** What is looked at of a job of BullMQ (https://docs.bullmq.io/guide/jobs). */
export interface JobLike {
  id?: string | undefined
  name: string
  queueName: string
  attemptsMade: number
  data: unknown
}

/**
 * A processor of BullMQ with each job as a trace: the skill is the job's name, the execution id `<queue>:<job id>`, queue and
 * attempt are in the metadata. A job that was added with `{ trace: t.context() }` in its data is a child of that trace. What the
 * processor returns and throws goes through unchanged, so that retries stay BullMQ's. Each attempt is a trace of its own.
 */
export function tracedProcessor<Job extends JobLike, Rest extends unknown[], Result>(
  tracer: ExecutionTracer,
  processor: (job: Job, ...rest: Rest) => Promise<Result>,
): (job: Job, ...rest: Rest) => Promise<Result> {
  return (job, ...rest) =>
    tracer.trace(
      job.name,
      {
        executionId: job.id === undefined ? undefined : `${textOf(job.queueName)}:${textOf(job.id)}`,
        metadata: { queue: job.queueName, attempt: job.attemptsMade + 1 },
        parent: parentOf(job.data),
      },
      () => processor(job, ...rest),
    )
}

// Data are whatever was added: what is no context is none.
function parentOf(data: unknown): TraceContextData | null {
  const trace = (data as { trace?: unknown } | null | undefined)?.trace as TraceContextData | undefined
  return typeof trace?.traceId === 'string' ? trace : null
}
