// The load behind the probes: short runs at a steady rate, until the time is over.
import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'
import { serve } from '../contender.ts'
import { recordShortRun } from '../ingest/load.ts'

/** How much, and for how long. */
export interface LoaderTask {
  tracesPerSecond: number
  durationMs: number
}

const [redis, namespace] = process.argv.slice(2) as [string, string]
const tracer = new ExecutionTracer({ redis, namespace })
await tracer.flush()

serve(async ({ tracesPerSecond, durationMs }: LoaderTask): Promise<{ traces: number }> => {
  const startMs = performance.now()
  let traces = 0
  for (;;) {
    const elapsedMs = performance.now() - startMs
    if (elapsedMs >= durationMs) break
    for (; traces < (elapsedMs * tracesPerSecond) / 1_000; traces++)
      recordShortRun(tracer, traces, { kind: 'short' })
    await after(1)
  }
  await tracer.flush({ timeoutMs: 60_000 })
  return { traces }
})
