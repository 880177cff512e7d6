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

test('reasons may be called anything, and of many the last are told together', () => {
  const dropped = JSON.parse('{"constructor":1,"__proto__":2,"toString":3}')
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`reason-${i}`, 1]))
  const totals = producerTotals([
    {
      a: encodeTold(1, { emitted: 6, acked: 0, dropped }),
      b: encodeTold(1, { emitted: 6, acked: 0, dropped }),
      c: encodeTold(1, { emitted: 40, acked: 0, dropped: many }),
    },
  ])
  expect(JSON.stringify(totals.dropped)).toMatch(/^{"constructor":2,"__proto__":4,"toString":6,"reason-0":1,/)
  expect(totals).toMatchObject({ dropped: { other: 11 }, held: 0 })
  expect(Object.keys(totals.dropped)).toHaveLength(33)
})

test('a producer that counts nothing, and what is no JSON of ours, say nothing', () => {
  expect(encodeTold(1, { emitted: 0, acked: 0, dropped: {} })).toBe('')
  const others = ['', '{', 'null', '{}', '[]', '[1,2,3,null]', '[1,2,3,{"a":"b"}]', '["1",2,3,{}]', '7']
  expect(producerTotals([Object.fromEntries(others.map((text, i) => [`p${i}`, text]))])).toEqual({
    producers: 0,
    emitted: 0,
    acked: 0,
    dropped: {},
    held: 0,
  })
})
