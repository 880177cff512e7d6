import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ExecutionTracer } from '@stepwell/client'
import { newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../apps/worker/test/frame-producer.ts'
import { type CliBench, makeCliBench } from './cli-bench.ts'

let bench: CliBench
let redis: Redis
const folder = mkdtempSync(join(tmpdir(), 'stepwell-audit-'))

beforeAll(async () => {
  bench = await makeCliBench()
  redis = new Redis(bench.redisUrl)
})
afterAll(async () => {
  redis.disconnect()
  rmSync(folder, { recursive: true })
  await bench[Symbol.asyncDispose]()
})

test('audit: every trace of a file is stored, open, in flight, dead or lost, and the lost are named', async () => {
  await using tracer = new ExecutionTracer({ redis: bench.redisUrl })
  const stored = Array.from({ length: 50 }, () => tracer.trace('build', (t) => t.context().traceId))
  const open = tracer.startTrace('agent')
  await tracer.flush()
  const refused = { ...wholeDelta('x', 1), n: 'no numbers' }
  await new FrameProducer(redis).send(refused)
  await waitFor(
    async () =>
      (await bench.json('dead', 'list')).dead_letters.length === 1 &&
      (await bench.json('traces', '--limit', '100')).traces.length >= 50 &&
      (await redis.exists(`stepwell:{0}:open:${open}`)) === 1,
    { what: 'the worker has done its part' },
  )
  const lost = newTraceId(Date.now())
  const file = join(folder, 'ids.ndjson')
  writeFileSync(
    file,
    [
      ...stored,
      JSON.stringify({ trace_id: open, skill_name: 'agent' }),
      JSON.stringify(refused.t),
      lost,
    ].join('\n'),
  )
  const end = await bench.stepwell(['doctor', '--audit', file, '--json'])
  expect(end).toMatchObject({ code: 1, stderr: '' })
  const { open: openCount, stored: storedCount, running, ...found } = JSON.parse(end.stdout)
  expect(found).toEqual({
    emitted: 53,
    with_missing_steps: 0,
    in_flight: 0,
    dead: 1,
    dead_not_kept: 0,
    lost: 1,
    lost_ids: [lost],
  })
  // Its first checkpoint may have come meanwhile.
  expect([openCount + storedCount, storedCount - running]).toEqual([51, 50])
  const { stdout } = await bench.stepwell(['doctor', '--audit', file])
  expect(stdout).toMatch(
    new RegExp(
      `53 traces of .*ids.ndjson\\n {2}stored .*\\n[\\s\\S]* {2}lost +1\\n {4}${lost}\\n1 trace lost\\n$`,
    ),
  )
})

test('audit: without a file it looks at what the streams show; entries that no worker has taken in are in flight', async () => {
  const producer = new FrameProducer(redis, 'later')
  await producer.send(wholeDelta('later', 1), wholeDelta('later', 2))
  const audit = await bench.stepwell(['doctor', '--audit', '--json'], {
    env: { STEPWELL_NAMESPACE: 'later' },
  })
  expect({ ...audit, stdout: JSON.parse(audit.stdout) }).toMatchObject({
    code: 0,
    stdout: { emitted: 2, stored: 0, open: 0, in_flight: 2, dead: 0, lost: 0 },
  })
  // Acked by somebody who has not stored it.
  await redis.xgroup('CREATE', 'later:{0}:events', 'stepwell', '$')
  const after = await bench.stepwell(['doctor', '--audit'], { env: { STEPWELL_NAMESPACE: 'later' } })
  expect(after).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^2 traces in the streams\n[\s\S]*2 traces lost\n$/),
  })
})

test('letters that were not kept: import and audit say that traces may be among them', async () => {
  await using full = await makeCliBench({ deadLetterBounds: { maxLetters: 0, maxBytes: 0 } })
  const pool = new pg.Pool({ connectionString: full.database.url })
  pool.on('error', () => {})
  await pool.query("alter table execution_traces add constraint no_poison check (skill_name <> 'poison')")
  await pool.end()
  const line = (skill: string): string => {
    const startedAt = new Date()
    return JSON.stringify({
      trace_id: newTraceId(startedAt.getTime()),
      skill_name: skill,
      started_at: startedAt,
      status: 'success',
      steps: [],
    })
  }
  const file = join(folder, 'with-poison.ndjson')
  writeFileSync(file, [line('good'), line('poison')].join('\n'))
  expect(await full.stepwell(['import', file])).toMatchObject({
    code: 3,
    stdout: 'imported at most 2 traces\n',
    stderr: expect.stringMatching(/^1 dead letter could not be kept meanwhile/),
  })
  expect(await full.stepwell(['doctor', '--audit', file])).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/ {2}lost +1 {3}or among the dead letters that were not kept: 1\n/),
  })
})

test('audit: a line that names no trace is an error that says which', async () => {
  const file = join(folder, 'bad.txt')
  writeFileSync(file, `${newTraceId(Date.now())}\nhello\n`)
  expect(await bench.stepwell(['doctor', '--audit', file])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/bad\.txt, line 2: no trace id/),
  })
  expect((await bench.stepwell(['doctor', '--audit', join(folder, 'absent')])).code).toBe(1)
})

test('drill: a worker of its own is killed in the middle, nothing is lost, and nothing of it is left', async () => {
  const worker = new URL('../apps/worker/src/main.ts', import.meta.url).pathname
  const end = await bench.stepwell(['doctor', '--drill', '--runs', '600', '--worker', worker, '--json'])
  expect(end.code, end.stderr + end.stdout).toBe(0)
  const report = JSON.parse(end.stdout)
  expect(report).toMatchObject({ ok: true, recorded: 600, stored: 600, rows: 600, dead: 0, lost: 0 })
  expect(report.stored_at_kill).toBeGreaterThan(0)
  expect(report.stored_at_kill).toBeLessThan(600)
  expect((await redis.keys('*')).filter((key) => key.includes('drill'))).toEqual([])
  const pool = new pg.Pool({ connectionString: bench.database.url })
  expect((await pool.query("select from pg_namespace where nspname like 'stepwell_drill%'")).rowCount).toBe(0)
  await pool.end()
  const failed = await bench.stepwell(['doctor', '--drill', '--worker', '/nowhere/stepwell-worker'])
  expect(failed).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/could not be started[\s\S]*--worker/),
  })
})

test('audit and tail: an entry that is too large to be read is passed over, and what is beside it is told', async () => {
  const producer = new FrameProducer(redis, 'large')
  const env = { STEPWELL_NAMESPACE: 'large' }
  const stream = 'large:{0}:events'
  await redis.xgroup('CREATE', stream, 'stepwell', '0', 'MKSTREAM')
  await producer.send(wholeDelta('first', 1))
  await redis.xadd(stream, '*', 'd', Buffer.alloc(40 << 20, 'x'))
  await producer.send(wholeDelta('second', 1))
  const audit = await bench.stepwell(['doctor', '--audit', '--json'], { env })
  expect(audit.stderr).toMatch(/larger than 32 MiB, and was passed over/)
  expect(JSON.parse(audit.stdout)).toMatchObject({ emitted: 2, in_flight: 2 })
  const tail = await bench.stepwell(['tail', '--since', '1h', '--json'], { env, killAfter: /"second"/ })
  expect(tail.stdout).toMatch(/"first"[\s\S]*"second"/)
  expect(tail.stderr).toMatch(/larger than 32 MiB, and was passed over/)
  await redis.del(stream)
})
