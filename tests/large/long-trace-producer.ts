// A producer of one long trace: `long-trace-producer.ts <steps> <seconds>`, the steps spread evenly over that time; 0: as fast as it can. It says at its end
// what it counted, the CPU that recording took, and the most memory it had.
import { setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'

const TICK_MS = 10
const AT_ONCE = 100

const [steps = 0, seconds = 0] = process.argv.slice(2).map(Number)
const tracer = new ExecutionTracer({
  redis: process.env.REDIS_URL,
  report: ({ message }) => process.stderr.write(`${message}\n`),
})
await tracer.flush()
let rssMaxBytes = 0
const cpuAtStart = process.cpuUsage()
const startMs = performance.now()
const traceId = await tracer.trace('long', async (t) => {
  for (let done = 0; done < steps; ) {
    const due =
      seconds === 0 ? done + AT_ONCE : Math.ceil(((performance.now() - startMs) / seconds / 1_000) * steps)
    for (const end = Math.min(due, steps); done < end; done++) t.recordStep(`step-${done % 50}`, 1)
    rssMaxBytes = Math.max(rssMaxBytes, process.memoryUsage.rss())
    if (seconds > 0) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    // What is recorded faster than Redis takes it would be dropped.
    else if (tracer.counters().buffered > 50_000) await tracer.flush({ timeoutMs: 60_000 })
    else await turn()
  }
  return t.traceId
})
const counters = await tracer.close({ timeoutMs: 60_000 })
const { user, system } = process.cpuUsage(cpuAtStart)
process.stdout.write(JSON.stringify({ traceId, counters, cpuUs: user + system, rssMaxBytes }))
