// A producer that records more than workers can take: `overload-producer.ts <runs a second> <seconds> <buffer bytes> <backlog bytes>`. It says at its end what it
// counted, the most memory it had, and how long its event loop was held up at most.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { ExecutionTracer } from '@stepwell/client'

const STEPS = 10
const TICK_MS = 10

const [runsPerSecond = 0, seconds = 0, bufferMaxBytes, backlogMaxBytes] = process.argv.slice(2).map(Number)
const tracer = new ExecutionTracer({
  redis: process.env.REDIS_URL,
  bufferMaxBytes,
  backlogMaxBytes,
  report: ({ message }) => process.stderr.write(`${message}\n`),
})
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
let rssMaxBytes = 0
let runs = 0
const startMs = performance.now()
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startMs
    for (const due = (elapsedMs / 1_000) * runsPerSecond; runs < due; runs++)
      tracer.trace('overload', { metadata: { run: runs } }, (t) => {
        for (let i = 0; i < STEPS; i++)
          t.recordStep(`step-${i}`, i, 'success', undefined, { attributes: { i } })
      })
    rssMaxBytes = Math.max(rssMaxBytes, process.memoryUsage.rss())
    if (elapsedMs < seconds * 1_000) return
    clearInterval(timer)
    resolve()
  }, TICK_MS)
})
delay.disable()
const atEnd = tracer.counters()
const counters = await tracer.close({ timeoutMs: 60_000 })
process.stdout.write(JSON.stringify({ runs, atEnd, counters, rssMaxBytes, delayMaxMs: delay.max / 1e6 }))
