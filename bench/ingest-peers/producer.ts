// A producer of a peer: `producer.ts <way> <redis>`. Fire and forget as Stepwell's: it waits only where too much is on its way.
import { newTraceId } from '@stepwell/protocol'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { serve } from '../contender.ts'
import { EVENTS, STEPS } from '../ingest/load.ts'
import { BULL_PREFIX, type PeerEvent, QUEUE, STREAM, type Way } from './way.ts'

/** What a producer says when all is sent. */
export interface PeerReport {
  startedAtMs: number
  cpuMs: number
}

const TRACES_ON_THEIR_WAY = 100

const [way, redisUrl] = process.argv.slice(2) as [Way, string]
const redis = new Redis(redisUrl, { maxRetriesPerRequest: null })
const queue = new Queue(QUEUE, { connection: redis, prefix: BULL_PREFIX })
const JOB = { removeOnComplete: true }

serve(async ({ traces }: { traces: number }): Promise<PeerReport> => {
  const startedAtMs = Date.now()
  const before = process.cpuUsage()
  let sent: Promise<unknown>[] = []
  for (let i = 0; i < traces; i++) {
    sent.push(send(eventsOf(i)))
    if (sent.length < TRACES_ON_THEIR_WAY) continue
    await Promise.all(sent)
    sent = []
  }
  await Promise.all(sent)
  const { user, system } = process.cpuUsage(before)
  return { startedAtMs, cpuMs: (user + system) / 1_000 }
})

function send(events: PeerEvent[]): Promise<unknown> {
  if (way === 'bullmq_per_trace') return queue.add('trace', { events }, JOB)
  // All at once, which is kinder than a job at a time.
  if (way === 'bullmq_per_event')
    return queue.addBulk(events.map((event) => ({ name: 'event', data: event, opts: JOB })))
  return Promise.all(events.map((event) => redis.xadd(STREAM, '*', 'event', JSON.stringify(event))))
}

function eventsOf(i: number): PeerEvent[] {
  const at = Date.now()
  const traceId = newTraceId(at)
  const executionId = `exec-${process.pid}-${i}`
  const metadata = { env: 'prod', region: 'eu' }
  const events: PeerEvent[] = [
    { traceId, event: 'start', at, skillName: 'docker-build', executionId, metadata },
  ]
  for (let k = 0; k < STEPS; k++)
    events.push({
      traceId,
      event: 'step',
      at: Date.now(),
      id: k + 1,
      name: `step-${k}`,
      durationMs: k * 3.7,
      status: 'success',
    })
  events.push({ traceId, event: 'end', at: Date.now(), status: 'success', durationMs: Date.now() - at })
  if (events.length !== EVENTS) throw new Error(`${events.length} events`)
  return events
}
