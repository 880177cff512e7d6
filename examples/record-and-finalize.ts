// A run with two recorded steps, stored as a success. Emitted through Redis and finalized directly: it is one trace.
import { ExecutionTracer, TraceRecorder } from '@stepwell/client'
import { TraceStorage } from '@stepwell/storage'

const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL })
const recorder = new TraceRecorder(tracer)
const storage = new TraceStorage({ connectionString: process.env.DATABASE_URL })

const traceId = tracer.startTrace('docker-build', 'exec-123', { env: 'prod' })
recorder.recordStep('load-config', 100)
recorder.recordStep('build-image', 200)

const trace = tracer.getCurrentTrace()
if (trace === undefined) throw new Error('no current trace')
const result = await storage.finalizeTrace(trace, 'success')
console.log(`${traceId}: ${result.status} in ${result.totalDurationMs.toFixed(1)} ms`)

await tracer.close()
await storage.close()
