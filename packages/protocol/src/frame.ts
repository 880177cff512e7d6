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
/**
 * Most bytes of JSON text that a worker takes from one frame, unpacked. A frame that holds more is refused. Parsed, the worst
 * text of this length (brackets alone) takes 60 times as much.
 */
export const FRAME_UNPACKED_MAX_BYTES = 4_194_304
/** Most deltas of a frame; one with more is refused, for each of them can become a dead letter. */
export const FRAME_MAX_DELTAS = 4_096
/** Longest JSON text of a producer's counters; longer ones are not read. */
export const COUNTERS_MAX_LENGTH = 1_024

// A packed frame says how much memory unpacking it needs, up to 128 MiB by zstd's own limit. 8 MiB is what level 19 asks for.
const ZSTD_WINDOW_LOG_MAX = 23

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
  const fields = encodeFrameHead(frame)
  if (compression === 'none') fields.push('d', frame.deltas)
  else fields.push('z', 'zstd', 'd', zlib.zstdCompressSync(frame.deltas).toString('base64'))
  return fields
}

/** The same without the deltas. */
export function encodeFrameHead(frame: Omit<Frame, 'deltas'>): string[] {
  const { producer, number, deltaCount, counters } = frame
  return [
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
}

/** Fields by name from the flat list that Redis answers with. Of a field that is there twice the first counts. */
export function frameFields<Value extends string | Buffer>(flat: readonly Value[]): Map<string, Value> {
  const fields = new Map<string, Value>()
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = String(flat[i])
    if (!fields.has(name)) fields.set(name, flat[i + 1] as Value)
  }
  return fields
}

/** The JSON text of a frame's deltas, unpacked where it is marked `zstd`. Throws where it cannot be, or is too large. */
export function unpackDeltas(deltas: Buffer, packing: string | undefined): Buffer {
  if (deltas.length > FRAME_UNPACKED_MAX_BYTES) throw new Error(TOO_LARGE)
  if (packing === undefined) return deltas
  if (packing !== 'zstd') throw new Error(`unknown packing '${packing.slice(0, 20)}'`)
  const packed = Buffer.from(deltas.toString('latin1'), 'base64')
  const { buffer, engine } = decompress(packed)
  // Node unpacks the first frame of zstd and passes over what follows it.
  if (engine.bytesWritten < packed.length) throw new Error('more than one frame of zstd')
  return buffer
}

function decompress(packed: Buffer): { buffer: Buffer; engine: { bytesWritten: number } } {
  const options = {
    maxOutputLength: FRAME_UNPACKED_MAX_BYTES,
    params: { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    info: true,
  }
  try {
    return zlib.zstdDecompressSync(packed, options) as never
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new Error(code === 'ERR_BUFFER_TOO_LARGE' ? TOO_LARGE : `not zstd in base64: ${message}`)
  }
}

const TOO_LARGE = `more than ${FRAME_UNPACKED_MAX_BYTES} bytes: send less in a frame`
