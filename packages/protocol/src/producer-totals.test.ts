import { expect, test } from 'vitest'
import { encodeTold, producerTotals, toldAtMs } from './producer-totals.ts'

test('the latest counters of each producer are added up, whichever shard has them', () => {
  const a1 = encodeTold(1_000.5, { emitted: 10, acked: 4, dropped: {} })
  const a2 = encodeTold(2_000, { emitted: 30, acked: 20, dropped: { buffer_full: 3, closed: 1 } })
  const b = encodeTold(1_500, { emitted: 5, acked: 5, dropped: { buffer_full: 0 } })
  expect(producerTotals([{ a: a1, b }, { a: a2 }])).toEqual({
    producers: 2,
    emitted: 35,
    acked: 25,
    dropped: { buffer_full: 3, closed: 1 },
    held: 6,
  })
  expect(toldAtMs(a1)).toBe(1_000)
})

test('a producer that counts nothing, and what is no JSON, say nothing', () => {
  expect(encodeTold(1, { emitted: 0, acked: 0, dropped: {} })).toBe('')
  expect(producerTotals([{ a: '', b: '{' }])).toEqual({
    producers: 0,
    emitted: 0,
    acked: 0,
    dropped: {},
    held: 0,
  })
})
