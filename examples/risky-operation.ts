// An operation that fails: its step ends failed with the error's message, and the trace with it.
import { connect } from 'node:net'
import { ExecutionTracer, TraceRecorder } from '@stepwell/client'
import { TraceStorage } from '@stepwell/storage'

const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL })
const recorder = new TraceRecorder(tracer)
const storage = new TraceStorage({ connectionString: process.env.DATABASE_URL })

/** Nobody listens on port 1: a real refusal. */
const riskyOperation = (): Promise<void> =>
  new Promise((resolve, reject) => {
    connect(1, '127.0.0.1').once('connect', resolve).once('error', reject)
  })

tracer.startTrace('risky-skill')
recorder.startStep('risky-step')
try {
  await riskyOperation()
  recorder.endStep('risky-step')
} catch (error) {
  recorder.endStep('risky-step', 'failed', (error as Error).message)
}
const trace = tracer.getCurrentTrace()
if (trace === undefined) throw new Error('no current trace')
const failed = trace.steps.some((step) => step.status === 'failed')
const result = await storage.finalizeTrace(trace, failed ? 'failed' : 'success')
console.log(`${result.traceId}: ${result.status}`)

await tracer.close()
await storage.close()
