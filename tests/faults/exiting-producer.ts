// A producer at work that ends as it is told: `exiting-producer.ts <way> <log file> [spool folder]`. What it has recorded it writes to the log before
// it goes on, a line each, at once: `<milliseconds> <trace id> <what>`.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'

const TICK_MS = 5
/** Events until it ends by itself. */
const EVENTS = 1_000

const [way, logFile, spool] = process.argv.slice(2) as [string, string, string | undefined]
const log = openSync(logFile, 'a')
const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, spool })
let isOver = false
let events = 0

function note(traceId: string, what: string): void {
  events += 1
  if (!isOver) writeSync(log, `${performance.now().toFixed(1)} ${traceId} ${what}\n`)
}

/** A run that is over at once. */
function runShort(): void {
  let id = ''
  tracer.trace('short', (t) => {
    id = t.traceId
    note(id, 'start')
    for (let i = 0; i < 3; i++) {
      t.recordStep(`step-${i}`, i)
      note(id, `step-${i}`)
    }
  })
  note(id, 'end')
}

/** A run that takes longer than two flushes. */
async function runLong(): Promise<void> {
  let id = ''
  await tracer.trace('long', async (t) => {
    id = t.traceId
    note(id, 'start')
    for (let i = 0; i < 4; i++) {
      const step = t.startStep(`step-${i}`)
      await after(30)
      step.end()
      note(id, `step-${i}`)
    }
  })
  note(id, 'end')
}

const work = setInterval(() => {
  runShort()
  void runLong()
  if (events > EVENTS) ends[way]?.()
}, TICK_MS)

/** By itself; the other ways end by a signal. */
const ends: Record<string, () => unknown> = {
  returns: () => clearInterval(work),
  exits: () => process.exit(7),
  throws: () => {
    throw new Error('nobody catches this')
  },
  rejects: () => void Promise.reject(new Error('nobody waits for this')),
}

/** What a host does at a signal; without, it does not hear of it. */
const hears: Record<string, () => unknown> = {
  closes: () => tracer.close().then(() => process.exit(0)),
  'exits-when-told': () => process.exit(3),
}
const hear = hears[way]
if (hear !== undefined)
  for (const signal of ['SIGTERM', 'SIGINT'])
    process.on(signal, () => {
      isOver = true
      clearInterval(work)
      hear()
    })
