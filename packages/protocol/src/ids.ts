import { createHash, randomBytes, randomFillSync } from 'node:crypto'
import type { StepId } from './trace.ts'

/** The earliest start that is accepted: 2000-01-01T00:00:00Z, in milliseconds since 1970. */
export const EARLIEST_START_MS = 946_684_800_000
/** The same as a UUIDv7 begins with it. */
const EARLIEST_START_TEXT = '00dc6acf-ac00'
/** How far ahead of the clock a start may lie: a day. */
export const LATEST_START_AHEAD_MS = 86_400_000

/** A UUID in canonical form. */
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const pool = new Uint8Array(16 * 256)
let poolAt = pool.length
let lastMs = -1
let counter = 0

const DIGITS = Buffer.from('0123456789abcdef')

/**
 * A new trace id: a UUIDv7 (RFC 9562, section 5.7) whose milliseconds are `floor(startedAtMs)`, always. Ids of the same
 * millisecond made one after the other sort in that order (method 1 of section 6.2: a 26-bit counter).
 */
export function newTraceId(startedAtMs: number): string {
  if (poolAt === pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  const at = poolAt
  poolAt += 16
  const byte = (i: number): number => pool[at + i] as number
  const ms = Math.floor(startedAtMs)
  if (ms === lastMs && counter < 0x3ffffff) counter += 1
  else {
    lastMs = ms
    counter = ((byte(6) << 16) | (byte(7) << 8) | byte(8)) & 0xffffff
  }
  return uuid7(
    ms,
    counter,
    ((byte(0) << 16) | (byte(1) << 8) | byte(2)) >>> 0,
    ((byte(3) << 16) | (byte(4) << 8) | byte(5)) >>> 0,
  )
}

/**
 * The trace id of a run that has none: a UUIDv7 of its start and of 74 bits of the SHA-256 of `content`, which tells it from
 * others of the same millisecond. The same for the same, wherever and however often it is made.
 */
export function repeatableTraceId(startedAtMs: number, content: string): string {
  const hash = createHash('sha256').update(content).digest()
  return uuid7(
    Math.floor(startedAtMs),
    hash.readUInt32BE(0) >>> 6,
    hash.readUIntBE(4, 3),
    hash.readUIntBE(7, 3),
  )
}

const letters = Buffer.from('00000000-0000-7000-8000-000000000000')

/** Puts 48 bits of time, 26 bits and twice 24 bits into the layout of a UUIDv7. Letter by letter: a text of pieces takes three times as long. */
function uuid7(ms: number, bits26: number, high24: number, low24: number): string {
  const high = Math.floor(ms / 0x1000000)
  const low = ms % 0x1000000
  write(0, high >>> 8, 4)
  write(4, ((high & 255) << 8) | (low >>> 16), 4)
  write(9, low & 0xffff, 4)
  write(15, bits26 >>> 14, 3)
  write(19, 0x8000 | (bits26 & 0x3fff), 4)
  write(24, high24, 6)
  write(30, low24, 6)
  return letters.toString('latin1')
}

function write(at: number, value: number, digits: number): void {
  for (let i = at + digits - 1, rest = value; i >= at; i--, rest >>>= 4)
    letters[i] = DIGITS[rest & 15] as number
}

/** The id in canonical form (lower case), or undefined if `text` is not a UUID of any version. */
export function parseTraceId(text: string): string | undefined {
  const id = text.toLowerCase()
  return UUID.test(id) ? id : undefined
}

/**
 * The start that a trace id tells, in milliseconds since 1970, or undefined where it tells none: ids of other versions,
 * and UUIDv7s outside the accepted starts.
 */
export function traceIdStart(traceId: string): number | undefined {
  if (traceId.charCodeAt(14) !== 0x37 /* 7 */) return undefined
  const ms = Number.parseInt(traceId.slice(0, 8) + traceId.slice(9, 13), 16)
  return ms >= EARLIEST_START_MS ? ms : undefined
}

/** Whether a trace id tells its start: the same without finding out which it is, in a tenth of the time. */
export const tellsStart = (traceId: string): boolean =>
  traceId.charCodeAt(14) === 0x37 && traceId >= EARLIEST_START_TEXT

/** A new producer id: 12 letters and digits, 71 random bits. It names one tracer for its life. */
export function newProducerId(): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  let id = ''
  while (id.length < 12)
    for (const b of randomBytes(24)) if (b < 248 && id.length < 12) id += alphabet[b % 62]
  return id
}

/** What a producer id may look like. */
export const PRODUCER_ID = /^[0-9A-Za-z_-]{1,32}$/
/** What a step id in text form may look like: `<producer>.<n>`, or text without a dot that is not all digits. */
export const STEP_ID_TEXT = /^(?:[0-9A-Za-z_-]{1,32}\.[1-9][0-9]{0,14}|(?![0-9]+$)[^.\p{C}]{1,64})$/u

/** The producer that a step id names; '' for the one that started the trace. */
export function producerOfStep(id: StepId): string {
  if (typeof id === 'number') return ''
  const dot = id.indexOf('.')
  return dot < 0 ? '' : id.slice(0, dot)
}

/** The order of steps in a trace: numbers first, by value; then text, a producer's own by their number. */
export function compareStepIds(a: StepId, b: StepId): number {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : -1
  if (typeof b === 'number') return 1
  const [pa, pb] = [producerOfStep(a), producerOfStep(b)]
  if (pa !== pb) return pa < pb ? -1 : 1
  if (pa !== '') return Number(a.slice(pa.length + 1)) - Number(b.slice(pb.length + 1))
  return a < b ? -1 : a > b ? 1 : 0
}

/** A step id as it stands in a text column, back to what it was. */
export function parseStepId(text: string): StepId {
  return /^[0-9]+$/.test(text) ? Number(text) : text
}
