// A producer process of the ingest benchmark: runs of 10 steps as fast as it can record them, until `traces` are emitted.
import { setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'

const [redis, traces, kind] = process.argv.slice(2) as [string, string, 'short' | 'long']
const tracer = new ExecutionTracer({ redis, flushIntervalMs: 50 })
await tracer.flush()
const startedAtMs = Date.now()

const STEPS = 10
const total = Number(traces)

async function shortRuns(): Promise<void> {
  for (let i = 0; i < total; i++) {
    tracer.trace(
      'docker-build',
      { executionId: `exec-${process.pid}-${i}`, metadata: { env: 'prod', region: 'eu' } },
      (t) => {
        for (let k = 0; k < STEPS; k++) t.recordStep(`step-${k}`, k * 3.7)
      },
    )
    if (i % 100 === 0) await breathe()
  }
}

/** Many runs side by side, every step of each in another flush. */
async function longRuns(): Promise<void> {
  const ids = Array.from({ length: total }, (_, i) =>
    tracer.startTrace('docker-build', { executionId: `exec-${process.pid}-${i}` }),
  )
  const handles = ids.map((traceId) => tracer.attach({ traceId }))
  for (let k = 0; k < STEPS; k++) {
    await tracer.flush({ timeoutMs: 60_000 })
    for (const [i, handle] of handles.entries()) {
      handle.recordStep(`step-${k}`, k * 3.7)
      if (i % 100 === 0) await breathe()
    }
  }
  await tracer.flush({ timeoutMs: 60_000 })
  for (const traceId of ids) tracer.endTrace('success', { traceId })
}

/** Lets frames go; waits where more is recorded than Redis takes. */
async function breathe(): Promise<void> {
  await turn()
  if (tracer.counters().buffered > 50_000) await tracer.flush({ timeoutMs: 60_000 })
}

await (kind === 'long' ? longRuns() : shortRuns())
const counters = await tracer.close({ timeoutMs: 60_000 })
process.stdout.write(JSON.stringify({ startedAtMs, ...counters }))
