import { type Delta, encodeFrame, newTraceId } from '@stepwell/protocol'
import { expect, test } from 'vitest'
import type { Acker } from './acker.ts'
import { Collector } from './collector.ts'
import { Correlated, type Correlation } from './correlation.ts'
import type { LetterBox } from './letter-box.ts'
import { makeShards, type Shard, type Ticket } from './shard.ts'
import { emptySorted, Sorter } from './sorter.ts'
import type { Store } from './store.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]

test('each delta of an entry has its letter, wherever whole runs stand', () => {
  const nowMs = Date.now()
  const whole: Partial<Delta> = { b: 1, s: [[1, 'a', 0, 1]], n: [1, 1], e: ['s', 1, 1] }
  const went: Partial<Delta> = { s: [[2, 'b', 0, 1]], n: [2, 2] }
  const kinds: Partial<Delta>[] = [
    whole,
    went,
    whole,
    whole,
    { b: 1, n: [0, 0] },
    { n: [2, 2], e: ['s', 1, 1] },
    whole,
    whole,
  ]
  const deltas = kinds.map(({ b, ...rest }) => JSON.stringify({ t: newTraceId(nowMs), k: 'a', b, ...rest }))
  const collector = new Collector({
    store: { write: async () => ({ written: [], guilty: [], waiting: [] }) } as unknown as Store,
    letterBox: {} as LetterBox,
    acker: { partDone() {} } as unknown as Acker,
    stop: new AbortController().signal,
    onWritten() {},
  })
  const sorter = new Sorter({
    collector,
    correlation: { keep: 'hour' } as Correlation,
    dueIn: { soon: 1, checkpoint: 2 },
    openDueInMs: 3,
  })
  const ticket: Ticket = { shard, id: `${nowMs}-0`, producer: '', field: '', open: 0, dead: false }
  const sorted = emptySorted(new Correlated('', 1))
  const frame = { producer: 'p', number: 1, deltaCount: kinds.length, deltas: `[${deltas.join()}]` }
  const counters = { emitted: 0, acked: 0, dropped: {} }
  sorter.sort(ticket, encodeFrame({ ...frame, counters }), false, nowMs, sorted)
  expect(sorted.folds).toEqual([])
  expect(sorted.entries).toMatchObject([{ dues: '-s--Cn--', folded: 3 }])
  expect(ticket.open).toBe(kinds.length)
})
