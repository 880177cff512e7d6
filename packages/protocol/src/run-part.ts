import type { Delta } from './delta.ts'
import { EARLIEST_START_MS } from './ids.ts'
import { ERROR_MAX_LENGTH, NAME_MAX_LENGTH } from './plain-json.ts'
import {
  COMMA,
  countEnd,
  flatObjectEnd,
  LIST,
  LIST_END,
  literal,
  literalEnd,
  nullEnd,
  numberAt,
  numberEnd,
  OBJECT_END,
  QUOTE,
  textEnd,
  unsignedEnd,
  ZERO,
} from './plain-values.ts'

/** What is known of a part, each at its place. A table has them one after the other: as objects they would be most of what a worker has to collect. */
const [AT, END_AT, STARTED_AT, SKILL_TO, BEGINS, EXECUTION_ID_TO, METADATA_FROM, METADATA_TO] = [
  0, 1, 2, 3, 4, 5, 6, 7,
]
const [FIRST_STEP, STEP_COUNT, STEPS_FROM, STEPS_TO, STARTED, COMPLETED, END_OFFSET, DURATION] = [
  8, 9, 10, 11, 12, 13, 14, 15,
]
const WIDTH = 16
/** Bytes of a run of ten steps. */
const USUAL_SIZE = 512

/** The parts of one frame. */
export class PartTable {
  /** The text of the frame's deltas. */
  readonly bytes: Buffer
  #numbers: Float64Array
  #length = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.#numbers = new Float64Array(WIDTH * Math.ceil(bytes.length / USUAL_SIZE))
  }

  /** Reads what stands at this place of the text; undefined where it is something else, or of another form. */
  read(at: number): RunPart | undefined {
    if (this.#length === this.#numbers.length) {
      // As many as there will be if the others are as long as those before.
      const rows = Math.ceil((this.#length / WIDTH) * Math.min(16, this.bytes.length / at)) + 1
      const more = new Float64Array(WIDTH * rows)
      more.set(this.#numbers)
      this.#numbers = more
    }
    const part = readPart(this.bytes, at, this.#numbers, this.#length)
    if (part !== undefined) this.#length += WIDTH
    return part
  }
}

/** The order of their trace ids, as texts have it. */
export function compareIds(a: RunPart, b: RunPart): number {
  const [left, right] = [a.idFrom, b.idFrom]
  for (let i = 0; i < ID_LENGTH; i++) {
    const difference = (a.bytes[left + i] as number) - (b.bytes[right + i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** What the owner of a run says of it between two flushes, as it stands in a frame, without a value for each step; nothing but what goes well. */
export class RunPart {
  /** The text of the frame's deltas; from `at` to `end` this one. */
  readonly bytes: Buffer
  readonly #numbers: Float64Array
  readonly #row: number

  constructor(bytes: Buffer, numbers: Float64Array, row: number) {
    this.bytes = bytes
    this.#numbers = numbers
    this.#row = row
  }

  #number(place: number): number {
    return this.#numbers[this.#row + place] as number
  }

  get at(): number {
    return this.#number(AT)
  }

  get end(): number {
    return this.#number(END_AT)
  }

  get startedAtMs(): number {
    return this.#number(STARTED_AT)
  }

  get idFrom(): number {
    return this.#number(AT) + ID.length
  }

  get skillFrom(): number {
    return this.idFrom + ID_LENGTH + SKILL.length
  }

  get skillTo(): number {
    return this.#number(SKILL_TO)
  }

  /** 0 to 0: there is none. */
  get executionIdFrom(): number {
    return this.executionIdTo === 0 ? 0 : this.skillTo + BEGIN.length + EXECUTION_ID.length
  }

  get executionIdTo(): number {
    return this.#number(EXECUTION_ID_TO)
  }

  /** JSON; 0 to 0: there are none. */
  get metadataFrom(): number {
    return this.#number(METADATA_FROM)
  }

  get metadataTo(): number {
    return this.#number(METADATA_TO)
  }

  /** Id of the first step; each other has the next. */
  get firstStep(): number {
    return this.#number(FIRST_STEP)
  }

  get stepCount(): number {
    return this.#number(STEP_COUNT)
  }

  /** JSON of the list of steps, each in its canonical form; 0 to 0: there are none. */
  get stepsFrom(): number {
    return this.#number(STEPS_FROM)
  }

  get stepsTo(): number {
    return this.#number(STEPS_TO)
  }

  /** Steps started so far. */
  get started(): number {
    return this.#number(STARTED)
  }

  get completed(): number {
    return this.#number(COMPLETED)
  }

  /** Of the end, milliseconds from the start; NaN: it does not end. */
  get endOffsetMs(): number {
    return this.#number(END_OFFSET)
  }

  get durationMs(): number {
    return this.#number(DURATION)
  }

  /** 1: the beginning. */
  get b(): 1 | undefined {
    return this.#number(BEGINS) === 1 ? 1 : undefined
  }

  /** Trace id. */
  get t(): string {
    return this.bytes.toString('latin1', this.idFrom, this.idFrom + ID_LENGTH)
  }

  /** Skill. */
  get k(): string {
    return this.bytes.toString('utf8', this.skillFrom, this.skillTo)
  }

  /** Execution id. */
  get x(): string | undefined {
    return this.executionIdTo === 0
      ? undefined
      : this.bytes.toString('utf8', this.executionIdFrom, this.executionIdTo)
  }

  /** When it ended, by the wall clock; NaN: it does not end. */
  get completedAtMs(): number {
    return this.startedAtMs + Math.floor(this.endOffsetMs)
  }

  /** The end: milliseconds from the start, and duration. */
  get e(): [offsetMs: number, durationMs: number] | undefined {
    return Number.isNaN(this.durationMs) ? undefined : [this.endOffsetMs, this.durationMs]
  }

  /** Whether it is all that is said of the run: the row follows from it. */
  get isWhole(): boolean {
    const { stepCount } = this
    return (
      this.b !== undefined &&
      !Number.isNaN(this.durationMs) &&
      this.firstStep === 1 &&
      this.started === stepCount &&
      this.completed === stepCount
    )
  }

  /** JSON text of the delta. */
  get text(): string {
    return this.bytes.toString('utf8', this.at, this.end)
  }

  /** The same in memory of its own: the frame is in memory for as long as any of its parts. */
  alone(): RunPart {
    return new PartTable(Buffer.from(this.bytes.subarray(this.at, this.end))).read(0) as RunPart
  }

  /** The same behind the trace id and the comma. */
  get textBehindId(): string {
    return this.bytes.toString('utf8', this.idFrom + ID_LENGTH + 2, this.end)
  }

  /** The delta; a new one each time. */
  delta(): Delta {
    return JSON.parse(this.text)
  }
}

const ID = literal('{"t":"')
const ID_LENGTH = 36
const SKILL = literal('","k":"')
const BEGIN = literal('","b":1')
const EXECUTION_ID = literal(',"x":"')
const METADATA = literal(',"m":')
const FIRST_REVISION = literal(',"r":1')
const STEPS = literal(',"s":[')
const COUNTS = literal(',"n":[')
const END = literal(',"e":["s",')

function readPart(bytes: Buffer, at: number, numbers: Float64Array, row: number): RunPart | undefined {
  let end = literalEnd(bytes, at, ID)
  if (end < 0) return undefined
  const startedAtMs = uuid7StartAt(bytes, end)
  if (!(startedAtMs >= EARLIEST_START_MS)) return undefined
  end = literalEnd(bytes, end + ID_LENGTH, SKILL)
  if (end < 0) return undefined
  const skillTo = textEnd(bytes, end, NAME_MAX_LENGTH)
  if (skillTo <= end) return undefined

  let [executionIdTo, metadataFrom, metadataTo] = [0, 0, 0]
  end = literalEnd(bytes, skillTo, BEGIN)
  const isBegin = end >= 0
  if (isBegin) {
    const executionId = literalEnd(bytes, end, EXECUTION_ID)
    if (executionId >= 0) {
      executionIdTo = textEnd(bytes, executionId, NAME_MAX_LENGTH)
      if (executionIdTo <= executionId) return undefined
      end = executionIdTo + 1
    }
    const metadata = literalEnd(bytes, end, METADATA)
    if (metadata >= 0) {
      metadataFrom = metadata
      metadataTo = flatObjectEnd(bytes, metadata)
      if (metadataTo < 0) return undefined
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
      if (stepsTo < 0) return undefined
    }
    if (bytes[stepsTo] !== LIST_END) return undefined
    end = stepsTo + 1
  }

  const startedFrom = literalEnd(bytes, end, COUNTS)
  const startedTo = startedFrom < 0 ? -1 : wholeEnd(bytes, startedFrom)
  if (startedTo < 0 || bytes[startedTo] !== COMMA) return undefined
  const completedTo = wholeEnd(bytes, startedTo + 1)
  if (completedTo < 0 || bytes[completedTo] !== LIST_END) return undefined
  end = completedTo + 1

  let [endOffsetMs, durationMs] = [Number.NaN, Number.NaN]
  const offsetFrom = literalEnd(bytes, end, END)
  if (offsetFrom >= 0) {
    const offsetTo = numberEnd(bytes, offsetFrom)
    if (offsetTo < 0 || bytes[offsetTo] !== COMMA) return undefined
    const durationTo = unsignedEnd(bytes, offsetTo + 1)
    if (durationTo < 0 || bytes[durationTo] !== LIST_END) return undefined
    endOffsetMs = numberAt(bytes, offsetFrom, offsetTo)
    durationMs = numberAt(bytes, offsetTo + 1, durationTo)
    end = durationTo + 1
  }
  if (bytes[end] !== OBJECT_END) return undefined
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
  return new RunPart(bytes, numbers, row)
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
    const end = textEnd(bytes, at + 3, ERROR_MAX_LENGTH)
    return end <= at + 3 ? -1 : end + 1
  }
  let end = nullEnd(bytes, at + 2)
  if (end < 0 || bytes[end] !== COMMA) return -1
  const hasParent = bytes[end + 1] !== NULL
  end = hasParent ? countEnd(bytes, end + 1) : nullEnd(bytes, end + 1)
  if (end < 0) return -1
  if (bytes[end] !== COMMA) return hasParent ? end : -1
  return flatObjectEnd(bytes, end + 1)
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
