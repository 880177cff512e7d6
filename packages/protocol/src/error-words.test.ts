import fc from 'fast-check'
import { expect, test } from 'vitest'
import { wordSetId, wordsOf } from './error-words.ts'

test.each([
  ['connection timeout redis', ['connection', 'timeout', 'redis']],
  ['  Redis\tredis\r\nREDIS  ', ['redis']],
  ['', []],
  [' \n\u00a0\u3000 ', []],
  ['ÉCHEC de Żółć — ΟΔΟΣ', ['échec', 'de', 'żółć', '—', 'οδος']],
  ['接続 エラー😀', ['接続', 'エラー😀']],
  ['__proto__ constructor constructor', ['__proto__', 'constructor']],
  ['a,b; (c)', ['a,b;', '(c)']],
])('the words of %j', (text, words) => {
  expect([...wordsOf(text)]).toEqual(words)
})

test('a huge text, of many words or of one', () => {
  const many = Array.from({ length: 5_000 }, (_, i) => `w${i % 2_500}`).join(' ')
  expect(wordsOf(many).size).toBe(2_500)
  expect([...wordsOf('X'.repeat(16_384))]).toEqual(['x'.repeat(16_384)])
})

test('a set has one id in any order, and another one than other sets', () => {
  const words = fc.uniqueArray(fc.constantFrom('a', 'b', 'ab', 'é', '😀', 'c'))
  fc.assert(
    fc.property(words, words, (a, b) => {
      const isSame = [...new Set(a)].sort().join() === [...new Set(b)].sort().join()
      expect(wordSetId(new Set(a)) === wordSetId(new Set(b))).toBe(isSame)
    }),
  )
  expect(wordSetId(wordsOf('timeout Redis'))).toBe(wordSetId(wordsOf('redis  redis TIMEOUT')))
  expect(wordSetId(new Set())).toMatch(/^[0-9a-f]{32}$/)
})
