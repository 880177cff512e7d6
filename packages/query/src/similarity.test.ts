import { wordsOf } from '@stepwell/protocol/failures'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BestMessages, jaccard } from './similarity.ts'

test('the formula: shared words over all words, in lower case, each once', () => {
  expect(jaccard(wordsOf('connection timeout redis'), wordsOf('Redis  Connection refused refused'))).toBe(
    2 / 4,
  )
  expect(jaccard(wordsOf('a b c'), wordsOf('a b c'))).toBe(1)
  expect(jaccard(wordsOf('a'), wordsOf('b'))).toBe(0)
  expect(jaccard(wordsOf(' \n'), wordsOf(''))).toBe(0)
})

test('3 of 10 words is 0.3: the threshold is inclusive', () => {
  expect(jaccard(wordsOf('a b c 1 2 3'), wordsOf('a b c 4 5 6 7'))).toBe(0.3)
})

test('the best messages are those of sorting all, with those level with the last', () => {
  const message = fc.record({
    message: fc.string(),
    similarity: fc.constantFrom(0.3, 0.5, 1),
    newestUs: fc.nat({ max: 5 }),
  })
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 3_000, minLength: 0 }),
      fc.integer({ min: 1, max: 5 }),
      (messages, limit) => {
        const best = new BestMessages(limit)
        for (const each of messages) best.add(each)
        const sorted = messages.toSorted((a, b) => b.similarity - a.similarity || b.newestUs - a.newestUs)
        const last = sorted[limit - 1]
        const expected = sorted.filter(
          (m, i) => i < limit || (m.similarity === last?.similarity && m.newestUs === last.newestUs),
        )
        expect(best.list().map((m) => [m.similarity, m.newestUs])).toEqual(
          expected.map((m) => [m.similarity, m.newestUs]),
        )
      },
    ),
    { numRuns: 50 },
  )
})

test('100,000 messages that are level cost little more than to sort them', () => {
  const best = new BestMessages(10)
  // Sorted anew for each of them, it takes minutes.
  for (let i = 0; i < 100_000; i++) best.add({ message: `m ${i}`, similarity: 0.5, newestUs: 1 })
  expect(best.list()).toHaveLength(100_000)
})
