import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Round, roundsFor } from './prefix-filter.ts'
import { jaccard } from './similarity.ts'

const numbers = fc.uniqueArray(fc.nat({ max: 20 }), { maxLength: 12 })
const thresholds = fc.oneof(
  fc.constantFrom(0, 0.3, 0.5, 1),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.tuple(fc.nat({ max: 12 }), fc.integer({ min: 1, max: 12 })).map(([a, b]) => Math.min(1, a / b)),
)
const asSet = (words: readonly number[]): Set<string> => new Set(words.map(String))

test('every set that is similar enough is found in the round that is for it, whatever is known of the words', () => {
  fc.assert(
    fc.property(
      numbers.filter((words) => words.length > 0),
      fc.array(numbers, { maxLength: 10 }),
      thresholds,
      fc.array(fc.tuple(fc.nat({ max: 20 }), fc.double({ min: 0, max: 1, noNaN: true }))),
      // So that several words have one hash.
      fc.constantFrom(1, 2, 5),
      (wanted, others, threshold, shares, hashesShare) => {
        const hashOf = (word: number): number => Math.floor(word / hashesShare)
        const hashes = [...new Set(wanted.map(hashOf))]
        const rounds = [...roundsFor(wanted.length, hashes, threshold, new Map(shares))]
        expect(rounds.at(-1)?.least).toBe(threshold)
        for (const other of others) {
          const similarity = jaccard(asSet(wanted), asSet(other))
          if (similarity < threshold || similarity === 0) continue
          const finds = ({ words, least, below, wordsMin, wordsMax }: Round): boolean =>
            similarity >= least &&
            similarity < below &&
            other.length >= wordsMin &&
            other.length <= wordsMax &&
            other.some((word) => words.includes(hashOf(word)))
          expect(rounds.filter(finds)).toHaveLength(1)
        }
      },
    ),
    { numRuns: 1_000 },
  )
})

test('rare words first; common ones only when it must be', () => {
  const shares = new Map([
    [1, 0.4],
    [2, 0.3],
    [3, 0.001],
  ])
  const rounds = [...roundsFor(4, [1, 2, 3, 4], 0.3, shares)]
  expect(rounds.map(({ words, least }) => [words, least])).toEqual([
    [[4, 3], 0.75],
    [[4, 3, 2], 0.3],
  ])
})

test('a word alone; a threshold of 1 and of 0', () => {
  expect([...roundsFor(1, [7], 0.3, new Map())]).toEqual([
    { words: [7], least: 0.3, below: 2, wordsMin: 1, wordsMax: 3 },
  ])
  expect([...roundsFor(3, [1, 2, 3], 1, new Map())]).toEqual([
    { words: [1], least: 1, below: 2, wordsMin: 3, wordsMax: 3 },
  ])
  expect([...roundsFor(3, [1, 2, 3], 0, new Map())].at(-1)).toMatchObject({
    words: [1, 2, 3],
    least: 0,
    wordsMin: 1,
    wordsMax: 2 ** 31 - 1,
  })
})

test('thousands of words take few rounds', () => {
  const hashes = Array.from({ length: 8_000 }, (_, i) => i)
  expect([...roundsFor(8_000, hashes, 0.3, new Map())].length).toBeLessThan(8)
})
