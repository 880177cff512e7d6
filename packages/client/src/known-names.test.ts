import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type KnownName, knownName, learnedName } from './known-names.ts'

test('a name is told as itself, whatever was asked for before it', () => {
  const names = fc.array(fc.constantFrom('a', 'b', 'say "hi"', 'é', '日本', ''), { minLength: 1 })
  fc.assert(
    fc.property(names, (asked) => {
      for (const name of asked) {
        const learned = learnedName(name)
        expect(learned).toMatchObject({ name, text: `,${JSON.stringify(name)},` })
        expect(learned.bytes === undefined).toBe(/[^ -~]/.test(name))
        expect(knownName(name)).toBe(learned)
      }
    }),
  )
})

test('of very many names the first are forgotten, and nothing leads to them', () => {
  for (let i = 0; i < 2_500; i++) {
    learnedName(`name-${i}`)
    if (i % 100 === 0) learnedName('often')
  }
  expect(knownName('name-0')).toBeUndefined()
  const reached = new Set<KnownName>()
  let name: KnownName | undefined = learnedName('often')
  for (; name !== undefined && !reached.has(name); name = name.next) reached.add(name)
  expect(reached.size).toBeGreaterThan(1)
  expect(reached.size).toBeLessThanOrEqual(1_000)
})
