import fc from 'fast-check'
import { expect, test } from 'vitest'
import { JsonBytes } from './json-bytes.ts'

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.string({ unit: fc.constantFrom('x', '"', '\\', '\n', '\x7f', '\x80', 'é', '日', '😀'), maxLength: 80 }),
)
const number = fc.oneof(
  fc.constantFrom(0, 9, 10, 99, 100, 2 ** 31 - 1, 2 ** 31, -1, 0.1, 1e21, 5e-324),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)

/** What writes a piece; and what it is as text. */
const piece = fc.oneof(
  text.map((json) => ({ write: (out: JsonBytes) => out.json(json), written: json.toWellFormed() })),
  number.map((value) => ({ write: (out: JsonBytes) => out.number(value), written: JSON.stringify(value) })),
  fc.nat().map((value) => ({ write: (out: JsonBytes) => out.digits(value), written: String(value) })),
  text.map((value) => {
    const quoted = JSON.stringify(value)
    const isPlain = value.length < 48 && /^[ -~]*$/.test(value) && quoted.length === value.length + 2
    return {
      write: (out: JsonBytes) => expect(out.shortText(value)).toBe(isPlain),
      written: isPlain ? quoted : '',
    }
  }),
  fc.constant({ write: (out: JsonBytes) => out.ascii(Buffer.from(',"key":')), written: ',"key":' }),
  fc.constant({ write: (out: JsonBytes) => out.byte(93), written: ']' }),
  fc.tuple(text, text).map(([before, copied]) => ({
    write(out: JsonBytes) {
      const from = new JsonBytes(Buffer.alloc(3))
      from.json(before)
      const { length, units } = from
      from.json(copied)
      out.copy(from.memory, length, from.length, from.units - units)
    },
    written: copied.toWellFormed(),
  })),
  fc.constant({ write: (out: JsonBytes) => out.json('ü'.repeat(20_000)), written: 'ü'.repeat(20_000) }),
)

test('what was written is there, however it grows and whatever is cut back', () => {
  const out = new JsonBytes()
  fc.assert(
    fc.property(fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 30 }), (pieces) => {
      out.clear()
      let all = ''
      for (const [{ write, written }, isKept] of pieces) {
        const { length, units } = out
        expect(units).toBe(all.length)
        write(out)
        expect(out.text(length)).toBe(written)
        if (isKept) all += written
        else out.cutBack(length, units)
      }
      expect(out.text()).toBe(all)
      expect(out.length).toBe(Buffer.byteLength(all))
    }),
    { numRuns: 1_000 },
  )
})
