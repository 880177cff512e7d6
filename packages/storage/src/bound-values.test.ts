import { expect, test } from 'vitest'
import { BoundValues } from './bound-values.ts'
import { bindArray, bindValue } from './column-array.ts'

const asItIs = (text: string): string => text

test('values are where the message has them, also of one that is larger than its memory was', () => {
  const long = ['x'.repeat(1_000_000), 'é'.repeat(1_000_000)]
  const bound = new BoundValues(3)
  bindValue(bound, 'timestamptz', Date.UTC(2000, 0, 1))
  bindArray(bound, 'text', long, asItIs)
  bindArray(bound, 'text', [], asItIs)
  const { message, values } = bound
  expect(values.map(({ length }) => length)).toEqual([8, 20 + 8 + 3_000_000, 20])
  // Bind, its length, two names of nothing, one format: binary, three values.
  expect(message.subarray(0, 13).toString('hex')).toBe(
    `42${(message.length - 1).toString(16).padStart(8, '0')}0000000100010003`,
  )
  const parts = values.flatMap((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value.length)
    return [length, value]
  })
  // And behind them no format of what is answered.
  expect(Buffer.concat([message.subarray(0, 13), ...parts, Buffer.alloc(2)]).equals(message)).toBe(true)
})

test('memory is used again when it is free, once', () => {
  const first = new BoundValues(0)
  const { bytes } = first
  first.free()
  first.free()
  const [second, third] = [new BoundValues(0), new BoundValues(0)]
  expect(second.bytes).toBe(bytes)
  expect(third.bytes).not.toBe(bytes)
})
