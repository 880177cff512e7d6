import fc from 'fast-check'
import { Command } from 'ioredis'
import { expect, test } from 'vitest'
import { WrittenDeltas } from './written-deltas.ts'
import { Xadd } from './xadd.ts'

const text = fc.string({ unit: fc.constantFrom('x', '"', 'é', '日', '😀', '\n'), maxLength: 40 })
/** Also longer ones than there is room for before the deltas. */
const anyText = fc.oneof(
  { weight: 9, arbitrary: text },
  text.map((one) => one.repeat(100)),
)

test('what is written is what the library writes of the same command, with and without a prefix of keys', () => {
  fc.assert(
    fc.property(
      anyText,
      fc.array(anyText, { maxLength: 4 }),
      fc.array(
        text.map((one) => JSON.stringify(one)),
        { maxLength: 5 },
      ),
      fc.constantFrom(undefined, '', 'team:'),
      (stream, fields, items, keyPrefix) => {
        const deltas = `[${items.join(',')}]`
        const args = [stream, '*', ...fields, deltas]
        const usual = new Command('xadd', args, keyPrefix === undefined ? {} : { keyPrefix }).toWritable({})
        const written = new WrittenDeltas((out) => out.json(deltas))
        // A frame that is sent again goes with another command.
        for (let i = 0; i < 2; i++)
          expect(new Xadd(stream, fields, written, keyPrefix).toWritable().toString()).toBe(String(usual))
        expect(written.text).toBe(deltas)
      },
    ),
  )
})

test('what was not answered yet stays as it is, whatever is written and answered meanwhile, and however long it is', () => {
  const commands = fc.array(
    fc.record({
      length: fc.constantFrom(1, 1_000, 100_000, 200_000, 300_000),
      answered: fc.integer({ min: 0, max: 5 }),
    }),
    { maxLength: 30 },
  )
  fc.assert(
    fc.property(commands, (made) => {
      const waiting: { written: WrittenDeltas; xadd: Xadd; deltas: string }[] = []
      for (const [i, { length, answered }] of made.entries()) {
        const deltas = `["${i}${'x'.repeat(length)}"]`
        const written = new WrittenDeltas((out) => out.json(deltas))
        const xadd = new Xadd('stream', ['d'], written, undefined)
        xadd.toWritable()
        waiting.push({ written, xadd, deltas })
        if (answered < waiting.length) waiting.splice(answered, 1)[0]?.written.free()
        for (const one of waiting)
          expect(one.xadd.toWritable().toString().endsWith(`\r\n${one.deltas}\r\n`)).toBe(true)
      }
      for (const { written } of waiting) written.free()
    }),
    { numRuns: 30 },
  )
})
