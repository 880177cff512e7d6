import fc from 'fast-check'
import { expect, test } from 'vitest'
import { GatheredSteps } from './gathered-steps.ts'

test('what is taken is what was added, in its order, however it gathered and however little fits', () => {
  const additions = fc.array(fc.record({ length: fc.nat(9_000), gathers: fc.boolean() }), { minLength: 1 })
  fc.assert(
    fc.property(additions, fc.integer({ min: 1, max: 20_000 }), (added, maxLength) => {
      const gathered = new GatheredSteps()
      for (const [i, { length, gathers }] of added.entries()) {
        gathered.add(`[${i},"${'x'.repeat(length)}"]`)
        if (gathers || gathered.isLong) gathered.gather()
      }
      gathered.gather()
      const taken: [id: number, name: string][] = []
      for (let rest = true; rest; ) {
        const part = gathered.take(maxLength)
        expect(part.length <= maxLength || part.texts.length === 1).toBe(true)
        const steps = JSON.parse(`[${part.texts.join(',')}]`)
        expect(steps.length).toBe(part.steps)
        taken.push(...steps)
        rest = part.rest
      }
      expect(taken.map(([id, name]) => [id, name.length])).toEqual(added.map(({ length }, i) => [i, length]))
      expect(gathered.take(maxLength)).toEqual({ texts: [], steps: 0, length: 0, rest: false })
    }),
  )
})

test('a text is long after a few thousand letters, and no longer when it was gathered', () => {
  const gathered = new GatheredSteps()
  for (let i = 0; i < 100 && !gathered.isLong; i++) gathered.add(`[${i},"${'x'.repeat(100)}"]`)
  expect(gathered.isLong).toBe(true)
  expect(gathered.gather()?.steps).toBeLessThan(100)
  expect(gathered.isLong).toBe(false)
  expect(gathered.gather()).toBeUndefined()
})
