// A producer of the soak: `soak-producer.ts <seed> <runs a second> <journal>`, until SIGTERM. It writes down each run when it begins, and each that
// has ended and is with Redis as accepted: then it must be stored, even if this process is killed in the next moment.
import { appendFileSync } from 'node:fs'
import { Load } from '../faults/load.ts'
import { acceptedLine, begunLine } from './journal.ts'

const FLUSH_EVERY_MS = 100

const [seed, runsPerSecond, journal] = process.argv.slice(2) as [string, string, string]
let ended: string[] = []
const load = new Load({
  redis: process.env.REDIS_URL as string,
  seed: Number(seed),
  runsPerSecond: Number(runsPerSecond),
  onBegun: (traceId, run) => appendFileSync(journal, begunLine(traceId, run)),
  onEnded: (traceId) => {
    ended.push(traceId)
    // The journal has it: what this process holds must not grow with the time it runs.
    load.runs.delete(traceId)
  },
})
load.start()

function accept(some: readonly string[]): void {
  if (some.length > 0) appendFileSync(journal, some.map(acceptedLine).join(''))
}

let isFlushing = false
const timer = setInterval(async () => {
  if (isFlushing) return
  isFlushing = true
  const some = ended
  ended = []
  if (await load.tracer.flush({ timeoutMs: 60_000 })) accept(some)
  else ended = [...some, ...ended]
  isFlushing = false
}, FLUSH_EVERY_MS)

process.once('SIGTERM', async () => {
  clearInterval(timer)
  const counters = await load.stop(60_000)
  if (counters.buffered === 0 && Object.keys(counters.dropped).length === 0) accept(ended)
  process.stdout.write(JSON.stringify(counters))
})
