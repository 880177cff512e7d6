import { encodeFrame, FRAME_UNPACKED_MAX_BYTES, newTraceId } from '@stepwell/protocol'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../../apps/worker/test/frame-producer.ts'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import type { ExpectedRun } from './load.ts'

const MIB = 1 << 20
const STREAM = 'stepwell:{0}:events'
/** Of the worker, all in all: 140 MiB idle, 240 MiB with the large values, up to 670 MiB while it parses 4 MiB of brackets. */
const RSS_MAX = 800 * MIB

test('entries-too-large: values of 20 and 100 MiB, and small ones that unpack to a lot, become dead letters in bounded memory', async () => {
  await using bench = await openFaultBench()
  const producer = new FrameProducer(bench.redis)
  const runs = new Map<string, ExpectedRun>()
  const sendGood = async (): Promise<void> => {
    const run = wholeDelta('good', 3)
    runs.set(run.t, { status: 'success', steps: 3, errorMessage: null })
    await producer.send(run)
  }
  await bench.redis.xgroup('CREATE', STREAM, 'stepwell', '0', 'MKSTREAM')

  // What comes in one read of 64 entries: half a GiB, were it taken as it comes.
  const large = Buffer.alloc(20 * MIB, 'x')
  for (let i = 0; i < 24; i++) {
    await bench.redis.xadd(STREAM, '*', 'v', '1', 'p', 'large', 'n', '1', 'c', '1', 'd', large)
    await sendGood()
  }
  await bench.redis.xadd(STREAM, '*', 'd', Buffer.alloc(100 * MIB, 'x'), 'v', '1')
  await sendGood()
  // A read of 30 KiB that unpacks to 256 MiB of metadata, which is fine and not to be lost.
  const text = JSON.stringify({ text: 'x'.repeat(FRAME_UNPACKED_MAX_BYTES - 1_000) })
  for (let i = 0; i < 64; i++) {
    const t = newTraceId(Date.now())
    runs.set(t, { status: 'success', steps: 0, errorMessage: null })
    const deltas = `[{"t":"${t}","b":1,"k":"packed","m":${text},"n":[0,0],"e":["s",1,1]}]`
    await producer.sendFields(packed(deltas, 1))
  }
  // And brackets, which take by far the most memory when they are parsed.
  for (let i = 0; i < 8; i++) await producer.sendFields(packed(`[${'['.repeat(2e6)}${']'.repeat(2e6)}]`, 1))
  await sendGood()

  let rssMax = 0
  const worker = await bench.startWorker()
  const watch = setInterval(
    () =>
      void worker.metric('process_resident_memory_bytes').then(
        (rss) => {
          rssMax = Math.max(rssMax, rss)
        },
        () => {},
      ),
    250,
  )
  await waitFor(async () => (await bench.rows('select from execution_dead_letters')).length === 24 + 1 + 8, {
    what: 'what is too large is among the dead letters',
  })
  const { dead, ...account } = await bench.account(runs)
  clearInterval(watch)
  const { dead: _, ...allWell } = ALL_WELL
  expect(account).toEqual(allWell)
  expect(dead.toSorted()).toEqual([
    ...Array(8).fill('Invalid input: expected object, received array'),
    ...Array(24).fill('deltas (d): more than 4194304 bytes: send less in a frame'),
    'the entry is larger than 32 MiB: it was not read. Send less in a frame',
  ])
  console.log(`entries-too-large: the worker had at most ${(rssMax / MIB).toFixed(0)} MiB`)
  expect(rssMax).toBeGreaterThan(0)
  expect(rssMax).toBeLessThan(RSS_MAX)
  const [payload] = await bench.rows('select max(length(payload)) longest from execution_dead_letters')
  expect(payload).toEqual({ longest: MIB })
})

function packed(deltas: string, count: number): string[] {
  const counters = { emitted: 0, acked: 0, dropped: {} }
  return encodeFrame({ producer: 'packed', number: count, deltaCount: count, counters, deltas }, 'zstd')
}
