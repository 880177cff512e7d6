import { expect, test } from 'vitest'
import { encodeFrame, FRAME_UNPACKED_MAX_BYTES, frameFields, unpackDeltas } from './frame.ts'

const frame = {
  producer: 'q8ZC2mYx0aLw',
  number: 7,
  deltaCount: 0,
  counters: { emitted: 4, acked: 2, dropped: { full: 1 } },
  deltas: '[]',
}

test('the fields are those of the protocol, readable as they are', () => {
  expect(encodeFrame(frame)).toEqual([
    'v',
    '1',
    'p',
    'q8ZC2mYx0aLw',
    'n',
    '7',
    'c',
    '0',
    'k',
    '{"emitted":4,"acked":2,"dropped":{"full":1}}',
    'd',
    '[]',
  ])
})

test('packed deltas are marked, smaller, and come back', () => {
  const deltas = JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ t: `é😀${i % 3}` })))
  const fields = frameFields(encodeFrame({ ...frame, deltas }, 'zstd'))
  expect(fields.get('z')).toBe('zstd')
  expect((fields.get('d') as string).length).toBeLessThan(deltas.length / 10)
  expect(unpackDeltas(fields.get('d') as string, fields.get('z'))).toBe(deltas)
})

test('a few bytes that unpack to more than the limit are refused', () => {
  const pack = (length: number): string =>
    frameFields(encodeFrame({ ...frame, deltas: ' '.repeat(length) }, 'zstd')).get('d') as string
  const bomb = pack(FRAME_UNPACKED_MAX_BYTES + 1)
  expect(bomb.length).toBeLessThan(10_000)
  expect(() => unpackDeltas(bomb, 'zstd')).toThrow()
  expect(unpackDeltas(pack(FRAME_UNPACKED_MAX_BYTES), 'zstd')).toHaveLength(FRAME_UNPACKED_MAX_BYTES)
})

test('an unknown packing is refused', () => {
  expect(() => unpackDeltas('[]', 'lz4')).toThrow("unknown packing 'lz4'")
})

test('of a field that is there twice the first counts; one without a value is none', () => {
  expect([...frameFields(['v', '1', 'v', '2', '__proto__', 'x', 'd'])]).toEqual([
    ['v', '1'],
    ['__proto__', 'x'],
  ])
})
