import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FRAME_VERSION, READ_VERSIONS } from './frame.ts'
import { decodeFrame } from './schema.ts'

// Frames as they were written when their version was new. They MUST decode to the same for as long as the version is read:
// a producer that is not upgraded yet writes them. Never change such a file; a new version gets a new one.
interface GoldenFrame {
  what: string
  fields: string[]
  decoded: unknown
}

const NOW_MS = Date.UTC(2026, 0, 1)

test.each(
  READ_VERSIONS.flatMap((version) => {
    const file = new URL(`../test/golden-v${version}.json`, import.meta.url)
    const frames = JSON.parse(readFileSync(file, 'utf8')) as GoldenFrame[]
    return frames.map((frame) => [version, frame.what, frame] as const)
  }),
)('a frame of version %s: %s', (version, _, { fields, decoded }) => {
  expect(fields.slice(0, 2)).toEqual(['v', version])
  // The text is what came; only packed frames have none.
  expect({ ...decodeFrame(fields, NOW_MS), text: undefined }).toEqual({
    ...(decoded as object),
    size: expect.any(Number),
  })
  expect(decoded).toMatchObject({ ok: true, refused: [] })
})

test('what is written is read; a version that is not known is refused as a whole, and says what is', () => {
  expect(READ_VERSIONS).toContain(FRAME_VERSION)
  for (const version of ['0', '2', '', '1.0', '__proto__']) {
    const decoded = decodeFrame(['v', version, 'p', 'x', 'n', '1', 'c', '0', 'd', '[]'], NOW_MS)
    expect(decoded).toEqual({
      ok: false,
      reason: `v: unknown frame version '${version}': this worker reads ${READ_VERSIONS.join(' and ')}`,
    })
  }
})
