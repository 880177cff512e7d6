import { zstdCompressSync } from 'node:zlib'
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

const unpack = (text: string, packing: string | undefined): string =>
  unpackDeltas(Buffer.from(text), packing).toString()

test('packed deltas are marked, smaller, and come back', () => {
  const deltas = JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ t: `é😀${i % 3}` })))
  const fields = frameFields(encodeFrame({ ...frame, deltas }, 'zstd'))
  expect(fields.get('z')).toBe('zstd')
  expect((fields.get('d') as string).length).toBeLessThan(deltas.length / 10)
  expect(unpack(fields.get('d') as string, fields.get('z'))).toBe(deltas)
})

test('a few bytes that unpack to more than the limit are refused, without the memory that they ask for', () => {
  const pack = (length: number): string =>
    frameFields(encodeFrame({ ...frame, deltas: ' '.repeat(length) }, 'zstd')).get('d') as string
  const bomb = pack(FRAME_UNPACKED_MAX_BYTES + 1)
  expect(bomb.length).toBeLessThan(1_000)
  expect(() => unpack(bomb, 'zstd')).toThrow(/^more than 4194304 bytes/)
  expect(unpack(pack(FRAME_UNPACKED_MAX_BYTES), 'zstd')).toHaveLength(FRAME_UNPACKED_MAX_BYTES)
  expect(() => unpack(' '.repeat(FRAME_UNPACKED_MAX_BYTES + 1), undefined)).toThrow(/^more than/)
  // 4 GiB of spaces: one frame of zstd that repeats a block of 128 KiB.
  const rssBefore = process.memoryUsage.rss()
  expect(() => unpack(manyBlocks(32_768), 'zstd')).toThrow(/^more than/)
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(32 << 20)
})

/** A frame of zstd with no size in its header, of so many blocks of 128 KiB of spaces each (RFC 8878, section 3.1.1). */
function manyBlocks(count: number, windowDescriptor = 0x50): string {
  // A run-length block: 3 bytes of header (last block, type 1, size), and the byte that is repeated.
  const block = (last: number): number[] => {
    const header = last | (1 << 1) | (131_072 << 3)
    return [header & 0xff, (header >> 8) & 0xff, header >> 16, 0x20]
  }
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, windowDescriptor]
  const blocks = Array.from({ length: count }, (_, i) => block(Number(i === count - 1))).flat()
  return Buffer.from([...head, ...blocks]).toString('base64')
}

test('zstd that is damaged, in parts, or asks for a window of 128 MiB is refused', () => {
  const text = JSON.stringify(Array.from({ length: 200 }, (_, i) => ({ i })))
  const packed = zstdCompressSync(text)
  const refusalOf = (bytes: Buffer | string): string => {
    try {
      return unpack(typeof bytes === 'string' ? bytes : bytes.toString('base64'), 'zstd')
    } catch (error) {
      return `refused: ${(error as Error).message}`
    }
  }
  expect(refusalOf(packed)).toBe(text)
  expect(refusalOf(manyBlocks(1))).toHaveLength(131_072)
  for (let length = 0; length < packed.length; length += 7)
    expect(refusalOf(packed.subarray(0, length))).toMatch(/^refused: not zstd in base64: /)
  for (const garbage of ['!', 'ä', '====', 'AAAA', '\0\uffff', 'K'.repeat(10_001)])
    expect(refusalOf(garbage)).toMatch(/^refused: not zstd in base64: /)
  // What it says it holds is not what it holds; a dictionary that nobody has.
  expect(refusalOf(Buffer.concat([packed.subarray(0, 5), Buffer.from([0xff]), packed.subarray(6)]))).toMatch(
    /^refused: not zstd in base64: /,
  )
  expect(refusalOf(Buffer.from('28b52ffd270100000007', 'hex'))).toMatch(/^refused: not zstd/)
  expect(refusalOf(manyBlocks(1, 0x88))).toBe(
    'refused: not zstd in base64: Frame requires too much memory for decoding',
  )
  const skippable = Buffer.from('502a4d180400000000000000', 'hex')
  for (const parts of [
    [packed, packed],
    [packed, Buffer.from('x')],
    [skippable, packed],
    Array(1_000).fill(packed),
  ])
    expect(refusalOf(Buffer.concat(parts))).toBe('refused: more than one frame of zstd')
})

test('an unknown packing is refused', () => {
  expect(() => unpack('[]', 'lz4')).toThrow("unknown packing 'lz4'")
})

test('of a field that is there twice the first counts; one without a value is none', () => {
  expect([...frameFields(['v', '1', 'v', '2', '__proto__', 'x', 'd'])]).toEqual([
    ['v', '1'],
    ['__proto__', 'x'],
  ])
})
