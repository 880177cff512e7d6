import { CORRELATION_TTL_S, type Delta, newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from './frame-producer.ts'
import { type Bench, makeBench } from './harness.ts'

let bench: Bench
let producer: FrameProducer

beforeAll(async () => {
  bench = await makeBench()
  producer = new FrameProducer(bench.redis)
  await bench.startWorker({ checkpointMs: 300 })
})
afterAll(() => bench[Symbol.asyncDispose]())

const stored = (traceId: string, status: string) =>
  waitFor(
    async (): Promise<Record<string, unknown> | undefined> =>
      (
        await bench.rows('select * from execution_traces where trace_id = $1 and status = $2', [
          traceId,
          status,
        ])
      )[0],
    {
      what: `trace ${traceId} is stored as ${status}`,
    },
  )

test('a whole run is stored from the stream and never touches the open state', async () => {
  const delta = { ...wholeDelta('whole', 3), x: 'exec-whole' }
  await producer.send(delta)
  const row = await stored(delta.t, 'success')
  expect(row).toMatchObject({
    skill_name: 'whole',
    execution_id: 'exec-whole',
    step_count: 3,
    missing_steps: 0,
    version: 1,
  })
  expect(row?.steps).toEqual(delta.s)
  await bench.drained()
  expect(await bench.redis.get('trace_context:exec-whole')).toBe(delta.t)
  const ttl = await bench.redis.ttl('trace_context:exec-whole')
  expect(ttl).toBeGreaterThan(CORRELATION_TTL_S - 60)
  expect(ttl).toBeLessThanOrEqual(CORRELATION_TTL_S)
})

test('of a frame that has whole runs too, what is no whole run is folded, and nothing else', async () => {
  // So late that it does not gather.
  const t = newTraceId(Date.now() - 5_000)
  const part = (id: number): Partial<Delta> => ({ s: [[id, `step-${id}`, id, 1]], n: [id, id] })
  const wholes = Array.from({ length: 4 }, () => wholeDelta('beside', 1))
  const [first, second, third, last] = wholes
  await producer.send(first, second, { t, k: 'between', ...part(2) }, third)
  await producer.send({ t, b: 1, k: 'between', ...part(1) }, last)
  await producer.send({ t, k: 'between', n: [2, 2], e: ['s', 3, 3] })
  expect(await stored(t, 'success')).toMatchObject({ step_count: 2, missing_steps: 0 })
  for (const { t } of wholes) expect(await stored(t, 'success')).toMatchObject({ version: 1 })
  await bench.drained()
})

test('an open run shows as running, its correlation key is touched, and its end completes it', async () => {
  const t = newTraceId(Date.now())
  await producer.send({
    t,
    b: 1,
    k: 'open',
    x: 'exec-open',
    s: [
      [1, 'first', 0, 5],
      [2, 'second', 6],
    ],
    n: [2, 1],
  })
  const running = await stored(t, 'running')
  expect(running).toMatchObject({
    step_count: 2,
    missing_steps: 0,
    completed_at: null,
    total_duration_ms: null,
  })
  await bench.redis.expire('trace_context:exec-open', 100)
  await waitFor(async () => (await bench.redis.ttl('trace_context:exec-open')) > 3000, {
    what: 'the key is touched at a checkpoint',
  })
  await producer.send({ t, k: 'open', s: [[2, 'second', 6, 7, 1, 'boom']], n: [2, 2], e: ['f', 14, 13.5] })
  expect(await stored(t, 'failed')).toMatchObject({
    error_message: 'boom',
    total_duration_ms: 13.5,
    missing_steps: 0,
  })
  await bench.drained()
})

test('a frame delivered twice, before and after the end, changes nothing', async () => {
  const t = newTraceId(Date.now())
  const begin = producer.encode([{ t, b: 1, k: 'twice', s: [[1, 'a', 0, 1]], n: [1, 1] }])
  const end = producer.encode([{ t, k: 'twice', n: [1, 1], e: ['s', 2, 2] }])
  for (const fields of [begin, begin, end, end]) await producer.sendFields(fields)
  await stored(t, 'success')
  for (const fields of [begin, end]) await producer.sendFields(fields)
  await bench.drained()
  expect(
    await bench.rows('select status, step_count, missing_steps from execution_traces where trace_id = $1', [
      t,
    ]),
  ).toEqual([{ status: 'success', step_count: 1, missing_steps: 0 }])
})

test('an end before its beginning: whole when the beginning comes', async () => {
  const t = newTraceId(Date.now())
  await producer.send({ t, k: 'late', n: [1, 1], e: ['s', 2, 2] })
  expect(await stored(t, 'success')).toMatchObject({
    skill_name: 'late',
    missing_steps: 1,
    execution_id: null,
  })
  await producer.send({ t, b: 1, k: 'late', x: 'exec-late', s: [[1, 'a', 0, 1]], n: [1, 1] })
  await waitFor(
    async () =>
      (await bench.rows('select 1 from execution_traces where trace_id = $1 and missing_steps = 0', [t]))[0],
    {
      what: 'the beginning is merged',
    },
  )
  await bench.drained()
})

test('an orphan is stored without its skill, and with it as soon as it is known', async () => {
  const t = newTraceId(Date.now())
  const other = new FrameProducer(bench.redis)
  await other.send({ t, s: [[`${other.id}.1`, 'elsewhere', 1, 2]], n: [1, 1] })
  expect(await stored(t, 'running')).toMatchObject({ skill_name: '', step_count: 1 })
  await producer.send({ t, b: 1, k: 'found', s: [], n: [0, 0], e: ['s', 5, 5] })
  expect(await stored(t, 'success')).toMatchObject({ skill_name: 'found', step_count: 1, missing_steps: 0 })
  await bench.drained()
})

test('a foreign id with its start is a trace like any other', async () => {
  const t = '6f1c2d3e-0000-4000-8000-0123456789ab'
  const at = Date.UTC(2026, 8, 5, 12)
  await producer.send({ t, at, b: 1, k: 'foreign', s: [[1, 'a', 0]], n: [1, 0] } satisfies Delta)
  await producer.send({ t, at, k: 'foreign', s: [[1, 'a', 0, 3]], n: [1, 1], e: ['s', 3, 3] } satisfies Delta)
  expect(await stored(t, 'success')).toMatchObject({ started_at: new Date(at), step_count: 1 })
  await bench.drained()
})

test('what is malformed goes to the dead letters with its reason, the rest of its frame is stored', async () => {
  const good = wholeDelta('neighbour', 1)
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  const late = wholeDelta('year 2040', 1, Date.UTC(2040, 0))
  await producer.send({ t: 'no uuid', n: [0, 0] }, good, late)
  await producer.sendFields(
    producer.encode([wholeDelta('deep', 1)]).map((text) => text.replace('{"env":"test"}', deep)),
  )
  await bench.redis.xadd('stepwell:{0}:events', '*', 'what', 'is this')
  await producer.sendFields(['v', '99', ...producer.encode([good]).slice(2)])
  await stored(good.t, 'success')
  await bench.drained()
  const letters = await bench.rows<{ reason: string; trace_id: string | null }>(
    'select reason, trace_id from execution_dead_letters',
  )
  const reasons = letters.map((letter) => letter.reason).sort()
  expect(reasons).toHaveLength(5)
  // Of a frame that cannot be read nothing is known, and of this one no trace.
  expect(letters.filter(({ trace_id }) => trace_id === null)).toHaveLength(3)
  expect(letters.find(({ trace_id }) => trace_id === late.t)?.reason).toMatch(/accepted is/)
  expect(reasons.join('\n')).toMatch(/nested deeper/)
  expect(reasons.join('\n')).toMatch(/not a UUID/)
  expect(reasons.join('\n')).toMatch(/accepted is 2000-01-01/)
  expect(reasons.join('\n')).toMatch(/unknown frame version/)
  expect(await bench.redis.hget('stepwell:{0}:counts', 'dead')).toBe('4')
})

test('after all of it nothing is left in Redis but the stream, the producers and the correlation keys', async () => {
  await bench.drained()
  const keys = (await bench.redis.keys('*')).filter((key) => !key.includes('{maintenance}'))
  for (const key of keys)
    expect(key).toMatch(/^(stepwell:\{0\}:(events|producers|counts|told)|trace_context:exec-\w+)$/)
})
