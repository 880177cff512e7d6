// A BullMQ processor, traced with one line. The job that is added carries the trace that it is added in, so its run is a child.
import { ExecutionTracer, step } from '@stepwell/client'
import { tracedProcessor } from '@stepwell/client/bullmq'
import { type Job, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

const connection = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', {
  maxRetriesPerRequest: null,
})
const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, service: 'images' })

async function resize(job: Job<{ width: number }>): Promise<number> {
  const pixels = await step('load', async () => Buffer.alloc(job.data.width * 10))
  if (job.attemptsMade === 0) await step('scale', () => Promise.reject(new Error('out of scratch space')))
  return step('store', async () => pixels.length)
}

const queue = new Queue('images', { connection })
const worker = new Worker('images', tracedProcessor(tracer, resize), { connection }) // the one line

await tracer.trace('upload', async (t) => {
  const job = await queue.add('resize', { width: 640, trace: t.context() }, { attempts: 2 })
  console.log(`added ${job.name}`)
})
const stored = await new Promise((resolve) => worker.on('completed', (_, result) => resolve(result)))
console.log(`resized: ${stored} bytes`)

await Promise.all([worker.close(), queue.obliterate({ force: true })])
await queue.close()
await tracer.close()
connection.disconnect()
