// A producer process of the pipeline: runs, as fast as it can record them.
import { setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'
import { serve } from '../contender.ts'
import { executionIdOf, type Load, OPEN_STEPS, recordShortRun, STEPS, skillOf } from './load.ts'

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
const STEPS_PER_BREATH = 1_000
/** With attributes a tenth of the events fills the buffer. */
const BUFFERED_AGENT_MAX = 5_000

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

async function shortRuns(tracer: ExecutionTracer, load: Load): Promise<void> {
  const perBreath = Math.ceil(STEPS_PER_BREATH / (load.steps ?? STEPS))
  for (let i = 0; i < load.traces; i++) {
    recordShortRun(tracer, i, load)
    if (i % perBreath === 0) await breathe(tracer, load.kind === 'agent' ? BUFFERED_AGENT_MAX : undefined)
  }
}

/** Many runs side by side, every step of each in another flush. */
async function longRuns(tracer: ExecutionTracer, load: Load): Promise<void> {
  const { traces, kind, skills = 1, openAtOnce = traces } = load
  for (let from = 0; from < traces; from += openAtOnce) {
    const ids: string[] = []
    for (let i = from; i < Math.min(traces, from + openAtOnce); i++) {
      ids.push(tracer.startTrace(skillOf(i, skills), { executionId: executionIdOf(i) }))
      // A beginning takes more of the buffer than a step.
      if (i % 100 === 0) await breathe(tracer, 5_000)
    }
    const handles = ids.map((traceId) => tracer.attach({ traceId }))
    for (let k = 0; k < (kind === 'open' ? OPEN_STEPS : STEPS); k++) {
      await tracer.flush(FLUSH)
      for (const [i, handle] of handles.entries()) {
        handle.recordStep(`step-${k}`, k * 3.7)
        if (i % 100 === 0) await breathe(tracer)
      }
    }
    await tracer.flush(FLUSH)
    if (kind === 'open') continue
    for (const traceId of ids) tracer.endTrace('success', { traceId })
  }
}

/** Lets frames go; waits where more is recorded than Redis takes. */
async function breathe(tracer: ExecutionTracer, bufferedMax = 50_000): Promise<void> {
  await turn()
  if (tracer.counters().buffered > bufferedMax) await tracer.flush(FLUSH)
}
