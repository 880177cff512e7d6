// Whole: by name zstd could not be imported before Node 22.15, where the client runs too.
import * as zlib from 'node:zlib'

/** The version of the wire form that is written. */
export const FRAME_VERSION = '1'
/**
 * The versions that are read: the one written and the one before, so that producers and workers can be upgraded one after the
 * other. Version 1 is the first. Frames of each are committed beside the tests, and MUST decode for as long as it stands here.
 */
export const READ_VERSIONS: readonly string[] = [FRAME_VERSION]
/** Most JSON text that a frame carries, in bytes as the client counts them; a delta that is larger alone still travels. */
export const FRAME_MAX_BYTES = 262_144
/** Most bytes that a worker unpacks from one frame. A frame that holds more is refused. */
export const FRAME_UNPACKED_MAX_BYTES = 16_777_216

/**
 * What a producer has counted since it began, events all: `emitted` = `acked` + dropped + what it still holds.
 * An event is a start of a trace, a step recorded or completed, or an end of a trace.
 */
export interface ProducerCounters {
  emitted: number
  acked: number
  dropped: Record<string, number>
}

/** One entry of a stream. (`producer`, `number`) is its identity, however often and by whomever it is sent. */
export interface Frame {
  producer: string
  /** 1, 2, … */
  number: number
  deltaCount: number
  counters: ProducerCounters
  /** JSON text: an array of deltas. `[]` in a heartbeat. */
  deltas: string
}

/** Fields and values of the stream entry, in the order of XADD. `zstd` (RFC 8878) packs the deltas, as base64; Node ≥ 22.15. */
export function encodeFrame(frame: Frame, compression: 'none' | 'zstd' = 'none'): string[] {
  const { producer, number, deltaCount, counters } = frame
  const fields = [
    'v',
    FRAME_VERSION,
    'p',
    producer,
    'n',
    String(number),
    'c',
    String(deltaCount),
    'k',
    JSON.stringify(counters),
  ]
  if (compression === 'none') fields.push('d', frame.deltas)
  else fields.push('z', 'zstd', 'd', zlib.zstdCompressSync(frame.deltas).toString('base64'))
  return fields
}

/** Fields by name from the flat list that Redis answers with. Of a field that is there twice the first counts. */
export function frameFields(flat: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i] as string
    if (!fields.has(name)) fields.set(name, flat[i + 1] as string)
  }
  return fields
}

/** The JSON text of a frame's deltas, unpacked where it is marked `zstd`. Throws where it cannot be, or is too large. */
export function unpackDeltas(text: string, packing: string | undefined): string {
  if (packing === undefined) return text
  if (packing !== 'zstd') throw new Error(`unknown packing '${packing.slice(0, 20)}'`)
  return zlib
    .zstdDecompressSync(Buffer.from(text, 'base64'), {
      maxOutputLength: FRAME_UNPACKED_MAX_BYTES,
    })
    .toString()
}
