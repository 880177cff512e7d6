import { EARLIEST_START_MS } from './ids.ts'
import { ERROR_MAX_LENGTH, NAME_MAX_LENGTH } from './plain-json.ts'
import {
  COMMA,
  countEnd,
  LIST,
  LIST_END,
  literal,
  literalEnd,
  nullEnd,
  numberAt,
  numberEnd,
  OBJECT_END,
  objectEnd,
  QUOTE,
  textEnd,
  unsignedEnd,
  writtenTextEnd,
  ZERO,
} from './plain-values.ts'
import {
  AT,
  BEGIN,
  BEGINS,
  COMPLETED,
  DURATION,
  END_AT,
  END_OFFSET,
  EXECUTION_ID,
  EXECUTION_ID_TO,
  FIRST_STEP,
  ID,
  ID_LENGTH,
  METADATA_FROM,
  METADATA_TO,
  type Parts,
  RunPart,
  SKILL,
  SKILL_TO,
  STARTED,
  STARTED_AT,
  STEP_COUNT,
  STEPS_FROM,
  STEPS_TO,
  WIDTH,
} from './run-part.ts'

/** Bytes of a run of ten steps. */
const USUAL_SIZE = 512

/** The parts of one frame. */
export class PartTable implements Parts {
  /** The text of the frame's deltas. */
  readonly bytes: Buffer
  numbers: Float64Array
  #length = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.numbers = new Float64Array(WIDTH * Math.ceil(bytes.length / USUAL_SIZE))
  }

  /** Reads what stands at this place of the text; undefined where it is something else, or of another form. */
  read(at: number): RunPart | undefined {
    if (this.#length === this.numbers.length) {
      // As many as there will be if the others are as long as those before.
      const rows = Math.ceil((this.#length / WIDTH) * Math.min(16, this.bytes.length / at)) + 1
      const more = new Float64Array(WIDTH * rows)
      more.set(this.numbers)
      this.numbers = more
    }
    const row = this.#length
    if (!readPart(this.bytes, at, this.numbers, row)) return undefined
    this.#length += WIDTH
    return new RunPart(this, row)
  }
}

const METADATA = literal(',"m":')
const FIRST_REVISION = literal(',"r":1')
const STEPS = literal(',"s":[')
const COUNTS = literal(',"n":[')
const END = literal(',"e":["s",')

/** Whether a part stands there; then its numbers are written from `row` on. */
function readPart(bytes: Buffer, at: number, numbers: Float64Array, row: number): boolean {
  let end = literalEnd(bytes, at, ID)
  if (end < 0) return false
  const startedAtMs = uuid7StartAt(bytes, end)
  if (!(startedAtMs >= EARLIEST_START_MS)) return false
  end = literalEnd(bytes, end + ID_LENGTH, SKILL)
  if (end < 0) return false
  const skillTo = textEnd(bytes, end, NAME_MAX_LENGTH)
  if (skillTo <= end) return false

  let [executionIdTo, metadataFrom, metadataTo] = [0, 0, 0]
  end = literalEnd(bytes, skillTo, BEGIN)
  const isBegin = end >= 0
  if (isBegin) {
    const executionId = literalEnd(bytes, end, EXECUTION_ID)
    if (executionId >= 0) {
      executionIdTo = textEnd(bytes, executionId, NAME_MAX_LENGTH)
      if (executionIdTo <= executionId) return false
      end = executionIdTo + 1
    }
    const metadata = literalEnd(bytes, end, METADATA)
    if (metadata >= 0) {
      metadataFrom = metadata
      metadataTo = objectEnd(bytes, metadata)
      if (metadataTo < 0) return false
      end = metadataTo
    }
    const revision = literalEnd(bytes, end, FIRST_REVISION)
    if (revision >= 0) end = revision
  } else end = skillTo + 1

  let [firstStep, stepCount, stepsTo] = [0, 0, 0]
  const stepsFrom = literalEnd(bytes, end, STEPS)
  if (stepsFrom >= 0) {
    const first = stepsFrom + 1
    firstStep = numberAt(bytes, first, countEnd(bytes, first))
    // Ids in turn: so no two are the same, and they are in the order in which they are stored.
    for (stepsTo = stepsFrom - 1; stepCount === 0 || bytes[stepsTo] === COMMA; stepCount++) {
      stepsTo = stepEnd(bytes, stepsTo + 1, firstStep + stepCount)
      if (stepsTo < 0) return false
    }
    if (bytes[stepsTo] !== LIST_END) return false
    end = stepsTo + 1
  }

  const startedFrom = literalEnd(bytes, end, COUNTS)
  const startedTo = startedFrom < 0 ? -1 : wholeEnd(bytes, startedFrom)
  if (startedTo < 0 || bytes[startedTo] !== COMMA) return false
  const completedTo = wholeEnd(bytes, startedTo + 1)
  if (completedTo < 0 || bytes[completedTo] !== LIST_END) return false
  end = completedTo + 1

  let [endOffsetMs, durationMs] = [Number.NaN, Number.NaN]
  const offsetFrom = literalEnd(bytes, end, END)
  if (offsetFrom >= 0) {
    const offsetTo = numberEnd(bytes, offsetFrom)
    if (offsetTo < 0 || bytes[offsetTo] !== COMMA) return false
    const durationTo = unsignedEnd(bytes, offsetTo + 1)
    if (durationTo < 0 || bytes[durationTo] !== LIST_END) return false
    endOffsetMs = numberAt(bytes, offsetFrom, offsetTo)
    durationMs = numberAt(bytes, offsetTo + 1, durationTo)
    end = durationTo + 1
  }
  if (bytes[end] !== OBJECT_END) return false
  numbers[row + AT] = at
  numbers[row + END_AT] = end + 1
  numbers[row + STARTED_AT] = startedAtMs
  numbers[row + SKILL_TO] = skillTo
  numbers[row + BEGINS] = Number(isBegin)
  numbers[row + EXECUTION_ID_TO] = executionIdTo
  numbers[row + METADATA_FROM] = metadataFrom
  numbers[row + METADATA_TO] = metadataTo
  numbers[row + FIRST_STEP] = firstStep
  numbers[row + STEP_COUNT] = stepCount
  numbers[row + STEPS_FROM] = stepCount === 0 ? 0 : stepsFrom - 1
  numbers[row + STEPS_TO] = stepCount === 0 ? 0 : stepsTo + 1
  numbers[row + STARTED] = numberAt(bytes, startedFrom, startedTo)
  numbers[row + COMPLETED] = numberAt(bytes, startedTo + 1, completedTo)
  numbers[row + END_OFFSET] = endOffsetMs
  numbers[row + DURATION] = durationMs
  return true
}

const NULL = 0x6e
const TWO = 0x32

/** Behind a step with this id. It is over, and what ends it is no default. */
function stepEnd(bytes: Buffer, at: number, id: number): number {
  if (bytes[at] !== LIST) return -1
  const idTo = countEnd(bytes, at + 1)
  if (idTo < 0 || numberAt(bytes, at + 1, idTo) !== id) return -1
  if (bytes[idTo] !== COMMA || bytes[idTo + 1] !== QUOTE) return -1
  const nameTo = textEnd(bytes, idTo + 2, NAME_MAX_LENGTH)
  if (nameTo < 0 || bytes[nameTo + 1] !== COMMA) return -1
  const start = nameTo + 2
  let end = bytes[start] === NULL ? nullEnd(bytes, start) : numberEnd(bytes, start)
  if (end < 0 || bytes[end] !== COMMA) return -1
  end = unsignedEnd(bytes, end + 1)
  if (end >= 0 && bytes[end] === COMMA) end = outcomeEnd(bytes, end + 1)
  return end >= 0 && bytes[end] === LIST_END ? end + 1 : -1
}

/** Behind what follows on the duration of a step: status, message, parent, attributes; as far as any of them is no default. */
function outcomeEnd(bytes: Buffer, at: number): number {
  const status = bytes[at] as number
  if (status < ZERO || status > TWO) return -1
  if (bytes[at + 1] !== COMMA) return status === ZERO ? -1 : at + 1
  if (bytes[at + 2] === QUOTE) {
    const end = writtenTextEnd(bytes, at + 3, ERROR_MAX_LENGTH)
    return end <= at + 3 ? -1 : end + 1
  }
  let end = nullEnd(bytes, at + 2)
  if (end < 0 || bytes[end] !== COMMA) return -1
  const hasParent = bytes[end + 1] !== NULL
  end = hasParent ? countEnd(bytes, end + 1) : nullEnd(bytes, end + 1)
  if (end < 0) return -1
  if (bytes[end] !== COMMA) return hasParent ? end : -1
  return objectEnd(bytes, end + 1)
}

const wholeEnd = (bytes: Buffer, at: number): number => (bytes[at] === ZERO ? at + 1 : countEnd(bytes, at))

const [DASH, SEVEN] = [0x2d, 0x37]
/** Of 0-9 and a-f what they stand for, of any other byte -1. */
const DIGITS = Int8Array.from({ length: 256 }, (_, byte) =>
  '0123456789abcdef'.indexOf(String.fromCharCode(byte)),
)

/** The milliseconds that a UUIDv7 of this place begins with; NaN where none stands there. */
function uuid7StartAt(bytes: Buffer, at: number): number {
  if (bytes[at + 14] !== SEVEN) return Number.NaN
  let ms = 0
  for (let i = 0; i < ID_LENGTH; i++) {
    const byte = bytes[at + i] as number
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (byte !== DASH) return Number.NaN
      continue
    }
    const digit = DIGITS[byte] ?? -1
    if (digit < 0) return Number.NaN
    if (i < 13) ms = ms * 16 + digit
  }
  return ms
}
