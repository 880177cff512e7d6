import { wordsOf } from '@stepwell/protocol/failures'
import { expect, test } from 'vitest'
import { jaccard } from './similarity.ts'

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
