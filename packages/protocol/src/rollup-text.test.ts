import fc from 'fast-check'
import { expect, it } from 'vitest'
import { RollupTextReader, RollupTextWriter } from './rollup-text.ts'

const number = fc.oneof(
  fc.integer({ min: 0, max: 100 }),
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(46, 47, 2_208, 2_209, Number.MAX_SAFE_INTEGER),
)
const text = fc
  .oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 80 }))
  .map((one) => one.toWellFormed())
// Bins side by side, near ones, far ones, and any count.
const bins = fc
  .array(
    fc.tuple(
      fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 70 })),
      fc.oneof(fc.integer({ min: 1, max: 70 }), fc.nat()),
    ),
    {
      minLength: 1,
      maxLength: 50,
    },
  )
  .map((pairs) => {
    const list: number[] = []
    for (const [gap, count] of pairs) list.push(...new Array<number>(gap - 1).fill(0), Math.max(1, count))
    return list.slice(list.findIndex((count) => count > 0))
  })

it('gives back what was written', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(number, text, bins), { maxLength: 20 }), (all) => {
      const writer = new RollupTextWriter()
      for (const [some, name, list] of all) {
        const part = new RollupTextWriter()
        part.bins(list, 0, list.length - 1)
        writer.number(some)
        writer.text(name)
        writer.bins([0, ...list], 1, list.length)
        writer.take(part)
        writer.take(part)
      }
      const reader = new RollupTextReader(writer.toString())
      for (const [some, name, list] of all) {
        expect(reader.number()).toBe(some)
        expect(reader.text()).toBe(name)
        const read = new Array<number>(list.length + 2).fill(1)
        const filled = list.filter((count) => count > 0)
        expect(reader.addBins(filled.length, read, 1)).toBe(filled.reduce((a, b) => a + b, 0))
        expect(read).toEqual([1, ...list.map((count) => count + 1), 1])
        expect(new RollupTextReader(reader.text()).addBins(filled.length, [...list], 0)).toBeGreaterThan(0)
        expect(reader.text()).toBe('')
      }
      expect(reader.isAtEnd).toBe(true)
    }),
  )
})

it('is printable but for texts, and stays as it is: it is stored', () => {
  const writer = new RollupTextWriter()
  for (const some of [0, 46, 47, 1_000, Number.MAX_SAFE_INTEGER]) writer.number(some)
  writer.text('ß')
  writer.bins([1, 2, 50, 51, 0, 4, 0, 0, 0, 0, 5, 1], 0, 11)
  writer.bins([1, ...new Array<number>(31).fill(0), 1, ...new Array<number>(32).fill(0), 1], 0, 65)
  expect(writer.toString()).toMatchInlineSnapshot(`"!OP"]6qyYwPSz\\R)#ß!"R~"T"V~&&!!}~B""`)
})

it('refuses a text that ends too soon', () => {
  const writer = new RollupTextWriter()
  writer.number(1_000_000)
  writer.text('name')
  writer.bins([1, 1_000, 0, 1], 0, 3)
  const whole = writer.toString()
  const read = (text: string): void => {
    const reader = new RollupTextReader(text)
    reader.number()
    reader.text()
    reader.addBins(3, [0, 0, 0, 0], 0)
  }
  read(whole)
  for (let end = 0; end < whole.length; end++) expect(() => read(whole.slice(0, end))).toThrow(RangeError)
})
