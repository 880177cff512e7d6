import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from './bytes.ts'
import { DurationSketch, SKETCH_RELATIVE_ERROR } from './duration-sketch.ts'
import { RollupTextReader, RollupTextWriter } from './rollup-text.ts'

const sketchOf = (values: readonly number[]): DurationSketch => {
  const sketch = new DurationSketch()
  for (const value of values) sketch.add(value)
  return sketch
}
const bytesOf = (sketch: DurationSketch): Uint8Array => {
  const writer = new ByteWriter()
  sketch.encode(writer)
  return writer.bytes()
}
const merged = (...sketches: DurationSketch[]): DurationSketch => {
  const all = new DurationSketch()
  for (const sketch of sketches) all.merge(sketch)
  return all
}
/** Nearest rank, as `percentile_disc` has it. */
const exact = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(share * values.length)) - 1] as number

// Nothing, microseconds to centuries, the ends of bins, and many alike.
const duration = fc.oneof(
  fc.constant(0),
  fc.integer({ min: -3_000, max: 12_000 }).map((e) => 10 ** (e / 1_000)),
  fc.integer({ min: -300, max: 1_300 }).map((e) => 1.02 ** e),
  fc.integer({ min: 1, max: 20 }),
)
const durations = fc.array(duration, { minLength: 1, maxLength: 200 })

it('tells every quantile within the stated error of the exact one', () => {
  fc.assert(
    fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
      const sketch = sketchOf(values)
      for (const q of [share, 0, 0.5, 0.9, 0.95, 0.99, 1]) {
        const wanted = exact(values, q)
        expect(Math.abs((sketch.quantile(q) as number) - wanted)).toBeLessThanOrEqual(
          SKETCH_RELATIVE_ERROR * wanted,
        )
      }
    }),
  )
})

it('merges parts into the sketch of the whole, in whatever order', () => {
  fc.assert(
    fc.property(durations, durations, durations, (a, b, c) => {
      const [x, y, z] = [sketchOf(a), sketchOf(b), sketchOf(c)]
      const whole = bytesOf(sketchOf([...a, ...b, ...c]))
      expect(bytesOf(merged(x, y, z))).toEqual(whole)
      expect(bytesOf(merged(merged(x, y), z))).toEqual(whole)
      expect(bytesOf(merged(z, merged(y, x)))).toEqual(whole)
    }),
  )
})

it('is what it was before, when what was added is taken out', () => {
  fc.assert(
    fc.property(fc.array(duration), durations, (a, b) => {
      const sketch = sketchOf([...a, ...b])
      for (const value of b) sketch.remove(value)
      expect(bytesOf(sketch)).toEqual(bytesOf(sketchOf(a)))
      expect(sketch.count).toBe(a.length)
    }),
  )
})

it('comes back from its bytes, and from its text, onto nothing and onto another', () => {
  fc.assert(
    fc.property(fc.array(duration), durations, (a, b) => {
      const text = new RollupTextWriter()
      sketchOf(a).encode(text)
      for (const source of [new ByteReader(bytesOf(sketchOf(a))), new RollupTextReader(text.toString())]) {
        const read = sketchOf(b)
        read.addEncoded(source)
        expect(bytesOf(read)).toEqual(bytesOf(sketchOf([...a, ...b])))
        expect(read.count).toBe(a.length + b.length)
        expect(source.isAtEnd).toBe(true)
      }
    }),
  )
})

it('has no quantile where there is nothing', () => {
  expect(new DurationSketch().quantile(0.5)).toBeUndefined()
  expect(sketchOf([0, 0]).quantile(1)).toBe(0)
})

it('stays small: a million log-normal durations take less than 2 KiB', () => {
  const sketch = new DurationSketch()
  for (let i = 0; i < 1e6; i++) {
    const [u, v] = [((i * 0.618_033_988_75) % 1) + 1e-9, (i * 0.754_877_666) % 1]
    sketch.add(200 * Math.exp(Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)))
  }
  expect(bytesOf(sketch).length).toBeLessThan(2_048)
})

it('refuses bytes that end too soon', () => {
  const bytes = bytesOf(sketchOf([1, 2, 3]))
  for (let end = 0; end < bytes.length; end++)
    expect(() => new DurationSketch().addEncoded(new ByteReader(bytes.subarray(0, end)))).toThrow(RangeError)
})
