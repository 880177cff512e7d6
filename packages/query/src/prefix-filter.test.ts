import { lengthClass, wordKey } from '@stepwell/protocol/failures'
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
          const keys = other.map((word) => wordKey(hashOf(word), lengthClass(other.length)))
          const isFor = ({ least, below }: Round): boolean => similarity >= least && similarity < below
          const [round, ...more] = rounds.filter(isFor) as [Round]
          expect(more).toEqual([])
          expect(other.length).toBeGreaterThanOrEqual(round.wordsMin)
          expect(other.length).toBeLessThanOrEqual(round.wordsMax)
          expect(keys.some((key) => round.keys.includes(key))).toBe(true)
        }
      },
    ),
    { numRuns: 1_000 },
  )
})

test('rare words first; common ones only where it must be: of longer sets more words are shared', () => {
  const common = [1, 2, 3, 4]
  const shares = new Map(
    Array.from({ length: 40 }, (_, length) =>
      common.map((hash): [number, number] => [wordKey(hash, length), 0.1]),
    ).flat(),
  )
  const rounds = [...roundsFor(8, [1, 2, 3, 4, 5, 6, 7, 8], 0.3, shares)]
  const has = ({ keys }: Round, words: number): number =>
    common.filter((hash) => keys.includes(wordKey(hash, lengthClass(words)))).length
  expect([rounds[0]?.below, rounds.at(-1)?.least]).toEqual([2, 0.3])
  // Four of eight are rare: with more than half in common one of them is there.
  expect(rounds[0]?.least).toBeLessThanOrEqual(0.6)
  expect([has(rounds[0] as Round, 5), has(rounds[0] as Round, 8)]).toEqual([0, 0])
  const last = rounds.at(-1) as Round
  expect([3, 5, 8, 12, 20].map((words) => has(last, words))).toEqual([2, 2, 1, 0, 0])
})

test('a word alone; a threshold of 1 and of 0', () => {
  expect([...roundsFor(1, [7], 0.3, new Map())].at(-1)).toMatchObject({
    least: 0.3,
    wordsMin: 1,
    wordsMax: 3,
  })
  expect([...roundsFor(3, [1, 2, 3], 1, new Map())]).toMatchObject([
    { keys: [wordKey(1, 3)], least: 1, below: 2, wordsMin: 3, wordsMax: 3 },
  ])
  const last = [...roundsFor(3, [1, 2, 3], 0, new Map())].at(-1) as Round
  expect(last).toMatchObject({ least: 0, wordsMin: 1 })
  expect(last.keys).toEqual(
    expect.arrayContaining([1, 2, 3].map((hash) => wordKey(hash, lengthClass(8_000)))),
  )
})

test('thousands of words take few rounds', () => {
  const hashes = Array.from({ length: 8_000 }, (_, i) => i)
  expect([...roundsFor(8_000, hashes, 0.3, new Map())].length).toBeLessThan(8)
})
