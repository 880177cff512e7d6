import { newTraceId, RunPart } from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import type { TraceDeltas } from '@stepwell/storage'
import { expect, test } from 'vitest'
import type { Acker } from './acker.ts'
import { Collector } from './collector.ts'
import type { LetterBox } from './letter-box.ts'
import { makeShards, type Shard, type Ticket } from './shard.ts'
import type { Store } from './store.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]

test('a run that is held up does not keep the frame in memory that it came in', async () => {
  const nowMs = Date.now()
  const texts = Array.from({ length: 100 }, (_, i) =>
    JSON.stringify({
      t: newTraceId(nowMs),
      k: `skill ${i}`,
      b: 1,
      s: [[1, 'é', 0, 1]],
      n: [1, 1],
      e: ['s', 1, 1],
    }),
  )
  const fields = ['v', '1', 'p', 'p', 'n', '1', 'c', '100', 'd', Buffer.from(`[${texts.join()}]`)]
  const frame = readFrame(fields, nowMs)
  if (!frame.ok) throw new Error(frame.reason)
  let heldUp: readonly TraceDeltas[] = []
  const store = {
    async write(traces: readonly TraceDeltas[]) {
      heldUp = traces
      return { written: [], guilty: [], waiting: traces }
    },
  } as unknown as Store
  const collector = new Collector({
    store,
    letterBox: {} as LetterBox,
    acker: {} as Acker,
    stop: new AbortController().signal,
    onWritten() {},
  })
  const ticket: Ticket = { shard, id: '1-0', producer: 'p', field: 'p:1', open: 100, dead: false }
  for (const run of frame.deltas)
    if (run instanceof RunPart)
      collector.addRun(run, [ticket], 100, () => [{ producer: '', delta: run.delta() }])
  await collector.flush()
  expect(heldUp.map(({ run }) => run?.text)).toEqual(texts)
  expect(heldUp.map(({ run }) => run?.bytes.length)).toEqual(texts.map((text) => Buffer.byteLength(text)))
})
