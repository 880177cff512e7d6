// Two roles on one spool folder. `spooling-producer.ts record <folder> [user id]`: records runs, as that user if it may be another. `spooling-producer.ts send <folder>`:
// a next start, which sends what lies there. Both say at their end what they counted and what they were told.
import { readdirSync } from 'node:fs'
import { ExecutionTracer } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'

const RUNS = 6_000

const [role, spool = '', user] = process.argv.slice(2)
// A superuser may write where it is forbidden.
if (user !== undefined && process.getuid?.() === 0) process.setuid?.(Number(user))
const reports: string[] = []
const tracer = new ExecutionTracer({
  redis: process.env.REDIS_URL,
  spool,
  bufferMaxBytes: 1 << 20,
  report: ({ message }) => reports.push(message),
})
if (role === 'record') {
  for (let i = 0; i < RUNS; i++) {
    tracer.trace('spooled', { metadata: { run: i } }, (t) => {
      for (let k = 0; k < 5; k++) t.recordStep(`a step of some length ${k}`, k)
    })
    // The disk gets a chance.
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
} else await waitFor(() => readdirSync(spool).length === 0, { what: 'the spool is empty' })
const counters = await tracer.close({ timeoutMs: role === 'record' ? 500 : 60_000 })
process.stdout.write(`${JSON.stringify({ counters, reports })}\n`)
