import fc from 'fast-check'
import { expect, test } from 'vitest'
import { errorPattern } from './error-pattern.ts'
import { areJoined, maskedHash, maskedText, tokenize } from './pattern-places.ts'

test.each([
  ['user bob failed', [2], 'user <*> failed'],
  ['user bob <*> failed', [2], 'user <*> failed'],
  ['from <*>, bob/eve: x', [5], 'from <*>: x'],
  ['is <*>. Bob left', [5], 'is <*>. <*> left'],
  ['the bob and eve', [2, 6], 'the <*> and <*>'],
  ['the bob eve, left', [2, 4], 'the <*>, left'],
  ['a (bob) b', [3], 'a (<*>) b'],
])('%s, masked', (pattern, masked, text) => {
  expect(maskedText(tokenize(pattern), masked)).toBe(text)
})

test('the hash is that of the text', () => {
  const pattern = fc
    .array(fc.constantFrom('a', 'bb', 'c-d', '7', ', ', ': ', '. ', ' ', '(', '"'), { maxLength: 14 })
    .map((parts) => errorPattern(parts.join(' ')))
  fc.assert(
    fc.property(pattern, fc.nat(), fc.nat(), (text, one, other) => {
      const tokenized = tokenize(text)
      const { words } = tokenized
      const masked = [...new Set([words[one % words.length], words[other % words.length]])]
        .filter((token) => token !== undefined)
        .sort((a, b) => a - b)
      const [a, b] = masked
      if (a !== undefined && b !== undefined && areJoined(tokenized, a, b)) masked.pop()
      expect(maskedHash(tokenized, masked)).toBe(maskedHash(tokenize(maskedText(tokenized, masked)), []))
    }),
    { numRuns: 1_000 },
  )
})
