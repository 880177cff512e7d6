import { addMonths, monthBounds, monthOf, newTraceId, partitionName } from '@stepwell/protocol'
import { DeadLetterWriter, ensurePartitions, openDatabase, parseRetentionRules } from '@stepwell/storage'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { fillMonth } from '../../../packages/storage/test/month-of-traces.ts'
import { FrameProducer } from './frame-producer.ts'
import { makeBench } from './harness.ts'

const DAY_MS = 86_400_000

test('the jobs of a worker drop months and dead letters that are too old, and keep the others', async () => {
  await using bench = await makeBench()
  const database = openDatabase(bench.database.url)
  const month = monthOf(Date.now())
  // In a month's first two days one more is kept than later.
  const ago = [0, 1, 3, 4].map((months) => addMonths(month, -months))
  await ensurePartitions(database, ago)
  const writer = new DeadLetterWriter(database)
  const letter = { stream: 's', entryId: '1-0', reason: 'odd', payload: '[]' }
  await writer.write([{ ...letter, letterId: 'old' }], Date.now() - 8 * DAY_MS)
  await writer.write([{ ...letter, letterId: 'young' }], Date.now() - 6 * DAY_MS)
  await bench.startWorker({ retentionMonths: 2, deadLetterMaxAgeMs: 7 * DAY_MS })
  await waitFor(
    async () => (await bench.rows("select from execution_dead_letters where letter_id = 'old'")).length === 0,
    { what: 'the old letter is gone' },
  )
  expect(await bench.rows('select reason, no_room, too_old from execution_dead_letters_not_kept')).toEqual([
    { reason: 'odd', no_room: '0', too_old: '1' },
  ])
  expect(await bench.rows('select letter_id from execution_dead_letters')).toEqual([{ letter_id: 'young' }])
  const before = async (): Promise<string[]> =>
    (
      await bench.rows<{ name: string }>(
        "select relname as name from pg_class where relname ~ '^execution_traces_\\d{4}_\\d\\d$' and relname < $1 order by 1",
        [partitionName(month)],
      )
    ).map(({ name }) => name)
  await waitFor(async () => (await before()).length === 1, { what: 'the old months are gone' })
  expect(await before()).toEqual([partitionName(addMonths(month, -1))])
  await database.close()
})

test('a worker removes classes that are past their time, says how much, and lets no part of what is gone come back', async () => {
  await using bench = await makeBench()
  const database = openDatabase(bench.database.url)
  const month = addMonths(monthOf(Date.now()), -2)
  await fillMonth(database, month, { count: 20, skills: ['build'], statuses: ['success', 'failed'] })
  await database.close()
  const worker = await bench.startWorker({
    retentionRules: parseRetentionRules('success=7d'),
    health: { host: '127.0.0.1', port: 0 },
  })
  const statuses = async (): Promise<unknown> =>
    bench.rows('select status, count(*)::int as traces from execution_traces group by 1 order by 1')
  await waitFor(async () => (await bench.rows('select from execution_retention')).length, {
    what: 'the month is rewritten',
  })
  expect(await statuses()).toEqual([{ status: 'failed', traces: 10 }])
  const metrics = (): Promise<string> => fetch(`${worker.healthUrl}/metrics`).then((answer) => answer.text())
  await waitFor(
    async () => (await metrics()).includes('stepwell_retention_traces_removed_total{action="rewritten"} 10'),
    { what: 'it has counted them' },
  )

  // The tail of a run, as an old spool brings it; and a run that is all there.
  const t = newTraceId(monthBounds(month).fromMs + 5)
  const producer = new FrameProducer(bench.redis)
  await producer.send({ t, k: 'build', s: [[7, 'last', 5, 5]], n: [7, 7], e: ['s', 10, 10] })
  await producer.send({
    t: newTraceId(monthBounds(month).fromMs + 6),
    b: 1,
    k: 'build',
    n: [0, 0],
    e: ['t', 5, 5],
  })
  await bench.drained()
  expect(await bench.rows('select trace_id, reason from execution_dead_letters')).toEqual([
    {
      trace_id: t,
      reason: expect.stringMatching(/^retention has removed traces of \d{4}-\d\d, and this is only a part/),
    },
  ])
  expect(await statuses()).toEqual([
    { status: 'failed', traces: 10 },
    { status: 'timeout', traces: 1 },
  ])
})
