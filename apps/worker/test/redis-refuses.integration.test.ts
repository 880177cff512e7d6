import { newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { FrameProducer } from './frame-producer.ts'
import { makeBench } from './harness.ts'

test('what Redis does not let a worker do is logged, waited for, and done once it may', async () => {
  await using bench = await makeBench()
  const { redis } = bench
  const user = `worker-${bench.database.url.split('/').at(-1)}`
  await redis.call('ACL', 'SETUSER', user, 'on', '>secret', 'allkeys', 'allchannels', '+@all', '-append')
  const url = new URL(bench.redisUrl)
  url.username = user
  url.password = 'secret'
  const log: string[] = []
  const worker = await bench.startWorker({
    redis: url.href,
    log: pino({ level: 'warn' }, { write: (line: string) => log.push(line) }),
  })
  const refusals = (): string[] => log.filter((line) => line.includes("can't run this command"))
  try {
    const trace = newTraceId(Date.now())
    await new FrameProducer(redis).send({ t: trace, k: 'deploy', n: [1, 1], s: [[1, 'push', 0, 1]] })
    await waitFor(() => refusals().length > 0, { what: 'the refusal is logged' })
    await redis.call('ACL', 'SETUSER', user, '+append')
    await waitFor(async () => (await bench.rows('select from execution_traces')).length === 1, {
      what: 'the trace is stored',
    })
    expect(refusals()).toHaveLength(1)
    expect(log.join()).not.toContain('push')
  } finally {
    await worker.close()
    await redis.call('ACL', 'DELUSER', user)
  }
})
