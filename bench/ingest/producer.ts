// A producer process of the pipeline: runs of 10 steps, as fast as it can record them.
import { setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'
import { serve } from '../contender.ts'
import { type Load, OPEN_STEPS, recordShortRun, STEPS } from './load.ts'

/** Where to send. */
export interface ProducerTask extends Load {
  redisUrl: string
  namespace: string
  shards: number
}

/** What a producer says when all is sent. */
export interface ProducerReport {
  startedAtMs: number
  cpuMs: number
}

const FLUSH = { timeoutMs: 60_000 }

serve(async ({ redisUrl, namespace, shards, ...load }: ProducerTask): Promise<ProducerReport> => {
  const tracer = new ExecutionTracer({ redis: redisUrl, namespace, shards })
  await tracer.flush(FLUSH)
  const startedAtMs = Date.now()
  const before = process.cpuUsage()
  await (load.kind === 'long' || load.kind === 'open' ? longRuns(tracer, load) : shortRuns(tracer, load))
  const { sent, emitted } = await tracer.close(FLUSH)
  const { user, system } = process.cpuUsage(before)
  if (sent !== emitted) throw new Error(`${emitted} events emitted, ${sent} sent`)
  return { startedAtMs, cpuMs: (user + system) / 1_000 }
})

async function shortRuns(tracer: ExecutionTracer, { traces, kind }: Load): Promise<void> {
  for (let i = 0; i < traces; i++) {
    recordShortRun(tracer, i, kind)
    if (i % 100 === 0) await breathe(tracer)
  }
}

/** Many runs side by side, every step of each in another flush. */
async function longRuns(tracer: ExecutionTracer, { traces, kind }: Load): Promise<void> {
  const ids = Array.from({ length: traces }, (_, i) =>
    tracer.startTrace('docker-build', { executionId: `exec-${process.pid}-${i}` }),
  )
  const handles = ids.map((traceId) => tracer.attach({ traceId }))
  for (let k = 0; k < (kind === 'open' ? OPEN_STEPS : STEPS); k++) {
    await tracer.flush(FLUSH)
    for (const [i, handle] of handles.entries()) {
      handle.recordStep(`step-${k}`, k * 3.7)
      if (i % 100 === 0) await breathe(tracer)
    }
  }
  await tracer.flush(FLUSH)
  if (kind === 'open') return
  for (const traceId of ids) tracer.endTrace('success', { traceId })
}

/** Lets frames go; waits where more is recorded than Redis takes. */
async function breathe(tracer: ExecutionTracer): Promise<void> {
  await turn()
  if (tracer.counters().buffered > 50_000) await tracer.flush(FLUSH)
}
