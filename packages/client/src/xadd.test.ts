import fc from 'fast-check'
import { Command } from 'ioredis'
import { expect, test } from 'vitest'
import { Xadd } from './xadd.ts'

const text = fc.string({ unit: fc.constantFrom('x', '"', 'é', '日', '😀', '\n'), maxLength: 40 })

test('what is written is what the library writes of the same command, with and without a prefix of keys', () => {
  fc.assert(
    fc.property(
      text,
      fc.array(text, { maxLength: 4 }),
      fc.array(
        text.map((one) => JSON.stringify(one)),
        { maxLength: 5 },
      ),
      fc.constantFrom(undefined, '', 'team:'),
      (stream, fields, items, keyPrefix) => {
        const args = [stream, '*', ...fields, `[${items.join(',')}]`]
        const usual = new Command('xadd', args, keyPrefix === undefined ? {} : { keyPrefix }).toWritable({})
        const xadd = new Xadd(stream, fields, items, keyPrefix)
        expect(xadd.toWritable().toString()).toBe(String(usual))
        xadd.free()
      },
    ),
  )
})

test('what was not answered yet stays as it is, whatever is written and answered meanwhile, and however long it is', () => {
  const commands = fc.array(
    fc.record({ length: fc.constantFrom(1, 1_000, 300_000), answered: fc.integer({ min: 0, max: 5 }) }),
    { maxLength: 30 },
  )
  fc.assert(
    fc.property(commands, (made) => {
      const waiting: { xadd: Xadd; item: string }[] = []
      for (const [i, { length, answered }] of made.entries()) {
        const item = `"${i}${'x'.repeat(length)}"`
        const xadd = new Xadd('stream', ['d'], [item], undefined)
        xadd.toWritable()
        waiting.push({ xadd, item })
        if (answered < waiting.length) waiting.splice(answered, 1)[0]?.xadd.free()
        for (const one of waiting)
          expect(one.xadd.toWritable().toString().endsWith(`\r\n[${one.item}]\r\n`)).toBe(true)
      }
      for (const { xadd } of waiting) xadd.free()
    }),
    { numRuns: 30 },
  )
})
