import type { BoundValues } from './bound-values.ts'

// A column of many rows as one parameter: a Postgres array in its binary form (array_recv of src/backend/utils/adt/arrayfuncs.c). Of thousands of
// parameters each has to be named, sent, looked up and planned; of an array the server reads one value after the other.

/** What a column holds. JSON is given as text, a time as whole milliseconds since 1970. */
export type ColumnType = keyof typeof FORMS

/** Binds the array of what the rows have. */
export function bindArray<Row>(
  bound: BoundValues,
  type: ColumnType,
  rows: readonly Row[],
  of: (row: Row) => unknown,
): void {
  const form = FORMS[type] as Form<unknown>
  // By number, here and below: an iterator over values of any type makes an object for each, a sixth of all that a worker allocates.
  let size = HEAD_SIZE
  for (let i = 0; i < rows.length; i++) {
    const value = of(rows[i] as Row)
    size += LENGTH_SIZE + (value === null ? 0 : form.size(value))
  }
  let at = beginArray(bound, form.oid, rows.length, size)
  const { bytes } = bound
  for (let i = 0; i < rows.length; i++) {
    const value = of(rows[i] as Row)
    const from = at + LENGTH_SIZE
    const to = value === null ? from : form.write(bytes, value, from)
    bytes.writeInt32BE(value === null ? -1 : to - from, at)
    at = to
  }
  bound.end(at)
}

/** The same of numbers, each asked for once. */
export function bindNumbers<Row>(
  bound: BoundValues,
  type: 'timestamptz' | 'float8' | 'int4' | 'int8',
  rows: readonly Row[],
  of: (row: Row) => number | bigint | null,
): void {
  const { oid, size, write } = FORMS[type] as Form<number | bigint>
  const width = size(0)
  let at = beginArray(bound, oid, rows.length, HEAD_SIZE + rows.length * (LENGTH_SIZE + width))
  const { bytes } = bound
  for (let i = 0; i < rows.length; i++) {
    const value = of(rows[i] as Row)
    at = bytes.writeInt32BE(value === null ? -1 : width, at)
    if (value !== null) at = write(bytes, value, at)
  }
  bound.end(at)
}

/** Binds one value. */
export function bindValue(bound: BoundValues, type: ColumnType, value: unknown): void {
  const form = FORMS[type] as Form<unknown>
  const at = bound.next(form.size(value))
  bound.end(form.write(bound.bytes, value, at))
}

/** Where in the `bytes` of a row a text of it is, UTF-8. */
export interface Place<Row> {
  from(row: Row): number
  /** 0: there is none. */
  to(row: Row): number
  /** What stands in its stead. */
  none: Buffer | null
}

/** Binds the array of texts that are taken from where they are. */
export function bindPlaces<Row extends { bytes: Buffer }>(
  bound: BoundValues,
  type: 'text' | 'json' | 'jsonb',
  rows: readonly Row[],
  { from, to, none }: Place<Row>,
): void {
  const version = type === 'jsonb' ? 1 : 0
  const nothing = none === null ? 0 : none.length
  let size = HEAD_SIZE
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as Row
    const end = to(row)
    size += LENGTH_SIZE + version + (end > 0 ? end - from(row) : nothing)
  }
  let at = beginArray(bound, FORMS[type].oid, rows.length, size)
  const { bytes } = bound
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as Row
    const end = to(row)
    const source = end > 0 ? row.bytes : none
    if (source === null) {
      at = bytes.writeInt32BE(-1, at)
      continue
    }
    const begin = end > 0 ? from(row) : 0
    const length = end > 0 ? end - begin : source.length
    at = bytes.writeInt32BE(version + length, at)
    if (version > 0) bytes[at++] = version
    copy(source, begin, begin + length, bytes, at)
    at += length
  }
  bound.end(at)
}

/** Binds the array of the UUIDs whose letters stand there. */
export function bindIds<Row extends { bytes: Buffer; idFrom: number }>(
  bound: BoundValues,
  rows: readonly Row[],
): void {
  const size = HEAD_SIZE + rows.length * (LENGTH_SIZE + UUID_SIZE)
  let at = beginArray(bound, FORMS.uuid.oid, rows.length, size)
  const { bytes } = bound
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as Row
    at = putUuid(bytes, row.bytes, row.idFrom, bytes.writeInt32BE(UUID_SIZE, at))
  }
  bound.end(at)
}

/** An array of so many values, and at most so many bytes in all; gives where the first of them goes. */
function beginArray(bound: BoundValues, oid: number, length: number, size: number): number {
  let at = bound.next(size)
  const { bytes } = bound
  at = bytes.writeInt32BE(1, at) // dimensions
  at = bytes.writeInt32BE(1, at) // there may be nulls
  at = bytes.writeInt32BE(oid, at)
  at = bytes.writeInt32BE(length, at)
  return bytes.writeInt32BE(1, at) // number of the first value
}

/** Below it a call takes longer than the loop. */
const COPY_SIZE = 48

function copy(source: Buffer, from: number, to: number, target: Buffer, at: number): void {
  if (to - from >= COPY_SIZE) source.copy(target, at, from, to)
  else for (let i = from; i < to; i++) target[at + i - from] = source[i] as number
}

const HEAD_SIZE = 20
const LENGTH_SIZE = 4
const UUID_SIZE = 16

/** How values of a type are written. */
interface Form<T> {
  /** Of the type, in pg_type. */
  oid: number
  /** Bytes that the value takes. */
  size(value: T): number
  /** Writes it there; gives where it ends. */
  write(bytes: Buffer, value: T, at: number): number
}

const textForm = (oid: number): Form<string> => ({
  oid,
  size: Buffer.byteLength,
  write: (bytes, text, at) => at + bytes.write(text, at),
})

const FORMS = {
  uuid: { oid: 2950, size: () => UUID_SIZE, write: writeUuid } satisfies Form<string>,
  timestamptz: { oid: 1184, size: () => 8, write: writeTime } satisfies Form<number>,
  float8: {
    oid: 701,
    size: () => 8,
    write: (bytes, value, at) => bytes.writeDoubleBE(value, at),
  } satisfies Form<number>,
  int4: {
    oid: 23,
    size: () => 4,
    write: (bytes, value, at) => bytes.writeInt32BE(value, at),
  } satisfies Form<number>,
  int8: {
    oid: 20,
    size: () => 8,
    write: writeBigInt,
  } satisfies Form<bigint>,
  text: textForm(25),
  json: textForm(114),
  jsonb: {
    oid: 3802,
    size: (text) => 1 + Buffer.byteLength(text),
    // The version of the form.
    write: (bytes, text, at) => at + 1 + bytes.write(text, bytes.writeUInt8(1, at)),
  } satisfies Form<string>,
}

const whole = new BigInt64Array(1)
const halves = new Int32Array(whole.buffer)

/** `writeBigInt64BE` makes others of it. The platforms that we run on all have the low half first. */
function writeBigInt(bytes: Buffer, value: bigint, at: number): number {
  whole[0] = value
  return bytes.writeInt32BE(halves[0] as number, bytes.writeInt32BE(halves[1] as number, at))
}

const letters = Buffer.alloc(36)

function writeUuid(bytes: Buffer, id: string, at: number): number {
  // Letters of a text that is part of a longer one, one by one, take six times as long as all of them at once.
  letters.write(id, 'latin1')
  return putUuid(bytes, letters, 0, at)
}

function putUuid(bytes: Buffer, letters: Buffer, from: number, at: number): number {
  let i = from
  for (let to = at; to < at + UUID_SIZE; to++) {
    if (letters[i] === DASH) i += 1
    bytes[to] = (digit(letters[i] as number) << 4) | digit(letters[i + 1] as number)
    i += 2
  }
  return at + UUID_SIZE
}

const DASH = 0x2d
/** Of 0-9 and a-f. */
const digit = (letter: number): number => (letter < 0x3a ? letter - 0x30 : letter - 0x57)

/** 2000-01-01, where times of Postgres count from. */
const POSTGRES_EPOCH_MS = 946_684_800_000

function writeTime(bytes: Buffer, ms: number, at: number): number {
  // Microseconds: a multiple of 8 under 2^56, so exact.
  const us = (ms - POSTGRES_EPOCH_MS) * 1_000
  const high = Math.floor(us / 2 ** 32)
  return bytes.writeUInt32BE(us - high * 2 ** 32, bytes.writeInt32BE(high, at))
}
