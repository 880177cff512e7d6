import { newTraceId, openRecords, type StepTuple, shardKeys } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer } from '../../apps/worker/test/frame-producer.ts'
import { makeBench } from '../../apps/worker/test/harness.ts'
import { runCli } from '../cli-bench.ts'

const STEPS = 4_000
const keys = shardKeys('stepwell', 0)

test('of a long trace that is stored Redis keeps who is at work in it, and where: enough to show it, to end it for silence, and to go on', async () => {
  await using bench = await makeBench()
  await bench.startWorker({ checkpointMs: 100, silenceMs: 2_000 })
  const [owner, helper, passerBy, other] = Array.from(
    { length: 4 },
    () => new FrameProducer(bench.redis),
  ) as [FrameProducer, FrameProducer, FrameProducer, FrameProducer]
  const t = newTraceId(Date.now())
  const step = (id: StepTuple[0], name: string, startMs: number, durationMs?: number): StepTuple =>
    durationMs === undefined ? [id, name, startMs] : [id, name, startMs, durationMs]
  const done = Array.from({ length: STEPS }, (_, i) => step(i + 1, `a rather long name ${i}`, i, 1))
  const head = { t, b: 1, k: 'long', x: 'exec-long', m: { env: 'test' }, r: 1 }
  await owner.send({ ...head, s: [...done, step(STEPS + 1, 'think', STEPS)], n: [STEPS + 1, STEPS] })
  await helper.send({ t, s: [step(`${helper.id}.1`, 'fetch', 5)], n: [1, 0] })
  await passerBy.send({ t, s: [step(`${passerBy.id}.1`, 'note', 6, 1)], n: [1, 1] })
  await waitFor(
    async () => {
      await Promise.all([owner.send(), helper.send()])
      const fields = openRecords((await bench.redis.get(keys.open(t))) ?? '').map(({ field }) => field)
      return fields.length === 2 && fields.every((field) => !field.startsWith(passerBy.id))
    },
    { what: 'only heads are left' },
  )
  expect(Number(await bench.redis.memory('USAGE', keys.open(t)))).toBeLessThan(2_048)
  expect(await bench.redis.exists(keys.openBy(passerBy.id))).toBe(0)
  expect(await bench.redis.smembers(keys.openBy(owner.id))).toEqual([t])

  const { stdout } = await runCli(['running', '--json'], {
    REDIS_URL: bench.redisUrl,
    DATABASE_URL: bench.database.url,
  })
  expect(JSON.parse(stdout).running).toMatchObject([
    { trace_id: t, step_count: STEPS + 3, missing_steps: 0, current_step: { name: 'think' } },
  ])

  // Both fall silent, others do not.
  const silent = await waitFor(
    async () => {
      await Promise.all([other.send(), passerBy.send()])
      const [row] = await bench.rows<Record<string, unknown>>(
        `select error_message, total_duration_ms, step_count, missing_steps, execution_id from execution_traces where status = 'timeout'`,
      )
      return row
    },
    { what: 'it times out' },
  )
  expect(silent).toEqual({
    error_message: "No sign of life for 2 s, in step 'think'",
    total_duration_ms: STEPS,
    step_count: STEPS + 3,
    missing_steps: 0,
    execution_id: 'exec-long',
  })

  // It was only slow: what still comes is merged with all that was stored.
  await owner.send({
    t,
    k: 'long',
    s: [step(STEPS + 1, 'think', STEPS, 9)],
    n: [STEPS + 1, STEPS + 1],
    e: ['s', 9_000, 9_000],
  })
  await helper.send({ t, s: [step(`${helper.id}.1`, 'fetch', 5, 2)], n: [1, 1] })
  await bench.drained()
  expect(
    await bench.rows(
      `select status, step_count, missing_steps, total_duration_ms, metadata, (select count(*)::int from trace_steps s where s.trace_id = t.trace_id and s.duration_ms is null) open from execution_traces t`,
    ),
  ).toEqual([
    {
      status: 'success',
      step_count: STEPS + 3,
      missing_steps: 0,
      total_duration_ms: 9_000,
      metadata: { env: 'test' },
      open: 0,
    },
  ])
})
