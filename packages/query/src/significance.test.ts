import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fisherExact, holm, normalTail } from './significance.ts'

/** Every way to choose `k` of the positions 0 … n−1. */
function* choices(n: number, k: number, from = 0): Generator<number[]> {
  if (k === 0) yield []
  else for (let i = from; i <= n - k; i++) for (const rest of choices(n, k - 1, i + 1)) yield [i, ...rest]
}

test("Fisher's test is the share of all ways to deal out the properties that give as many or more", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 6 }),
      fc.nat(12),
      fc.nat(6),
      (m, n, h, c) => {
        const having = Math.min(h, m + n)
        const count = Math.min(Math.max(c, having - n), having, m)
        const deals = [...choices(m + n, having)].map((deal) => deal.filter((i) => i < m).length)
        const share = deals.filter((k) => k >= count).length / deals.length
        const p = fisherExact({ count, of: m }, { count: having - count, of: n })
        expect(p).toBeCloseTo(share, 10)
      },
    ),
  )
})

test("Fisher's test on published tables", () => {
  // The lady tasting tea (Fisher 1935): all four right, and three of four.
  expect(fisherExact({ count: 4, of: 4 }, { count: 0, of: 4 })).toBeCloseTo(1 / 70, 12)
  expect(fisherExact({ count: 3, of: 4 }, { count: 1, of: 4 })).toBeCloseTo(17 / 70, 12)
  // Numbers of a size that factorials as such would overflow with.
  expect(fisherExact({ count: 0, of: 5_000 }, { count: 0, of: 5_000 })).toBe(1)
  expect(fisherExact({ count: 5_000, of: 5_000 }, { count: 0, of: 5_000 })).toBeLessThan(1e-300)
})

test('the tail of the normal distribution, by published values', () => {
  for (const [z, p] of [
    [0, 0.5],
    [1, 0.158655253931457],
    [1.96, 0.0249978951482204],
    [2.9, 0.001865813300384],
    [3, 0.00134989803163009],
    [6, 9.86587645037698e-10],
    [10, 7.61985302416053e-24],
  ] as const)
    expect(normalTail(z) / p, `z ${z}`).toBeCloseTo(1, 9)
})

test("Holm's correction, by hand, in the order of the input; never less than the value itself", () => {
  expect(holm([])).toEqual([])
  const [a, b, c, d] = holm([0.01, 0.04, 0.03, 0.005])
  expect([a, b, c, d].map((p) => Number(p?.toFixed(4)))).toEqual([0.03, 0.06, 0.06, 0.02])
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }), (ps) => {
      const corrected = holm(ps)
      for (const [i, p] of ps.entries()) {
        expect(corrected[i]).toBeGreaterThanOrEqual(p)
        expect(corrected[i]).toBeLessThanOrEqual(1)
        for (const [k, q] of ps.entries())
          if (q < p) expect(corrected[k]).toBeLessThanOrEqual(corrected[i] as number)
      }
    }),
  )
})
