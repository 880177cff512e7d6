import type { Delta } from './delta.ts'
import { literal } from './plain-values.ts'

// What is known of a part, a number each. In a table they stand one after the other: as objects they would be most of what a worker has to collect.
// First places in the text; 0 behind the first two: there is none.
export const [AT, END_AT, SKILL_TO, EXECUTION_ID_TO, METADATA_FROM, METADATA_TO, STEPS_FROM, STEPS_TO] = [
  0, 1, 2, 3, 4, 5, 6, 7,
]
const PLACES = 8
export const [STARTED_AT, BEGINS, FIRST_STEP, STEP_COUNT, STARTED, COMPLETED, END_OFFSET, DURATION] = [
  8, 9, 10, 11, 12, 13, 14, 15,
]
/** Numbers of a part. */
export const WIDTH = 16

/** What a part begins with: the trace id, the skill, whether it is the beginning, and then the execution id. */
export const [ID, SKILL, BEGIN, EXECUTION_ID] = [
  literal('{"t":"'),
  literal('","k":"'),
  literal('","b":1'),
  literal(',"x":"'),
]
export const ID_LENGTH = 36

/** Parts: their texts, and their numbers. */
export interface Parts {
  readonly bytes: Buffer
  readonly numbers: Float64Array
}

/** The order of two trace ids, lower case, by where their letters stand: that of their texts. */
export function compareIds(a: IdPlace, b: IdPlace): number {
  const [left, right] = [a.idFrom, b.idFrom]
  for (let i = 0; i < ID_LENGTH; i++) {
    const difference = (a.bytes[left + i] as number) - (b.bytes[right + i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

interface IdPlace {
  readonly bytes: Buffer
  readonly idFrom: number
}

/** What the owner of a run says of it between two flushes, as it stands in a frame, without a value for each step; nothing but what goes well. */
export class RunPart {
  readonly #parts: Parts
  readonly #row: number

  /** The one whose numbers begin at `row`. */
  constructor(parts: Parts, row: number) {
    this.#parts = parts
    this.#row = row
  }

  #number(place: number): number {
    return this.#parts.numbers[this.#row + place] as number
  }

  /** From `at` to `end` it is this one. */
  get bytes(): Buffer {
    return this.#parts.bytes
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

  /** The same behind the trace id and the comma. */
  get textBehindId(): string {
    return this.bytes.toString('utf8', this.idFrom + ID_LENGTH + 2, this.end)
  }

  /** The part in memory of its own. */
  alone(): RunPart {
    const bytes = Buffer.from(this.bytes.subarray(this.at, this.end))
    const numbers = new Float64Array(WIDTH)
    this.copyNumbers(numbers, 0, 0)
    return new RunPart({ bytes, numbers }, 0)
  }

  /** Copies what is known of it to there, as of the same text at another place. */
  copyNumbers(to: Float64Array, row: number, at: number): void {
    const { numbers } = this.#parts
    const shift = at - this.at
    for (let place = 0; place < WIDTH; place++) {
      const number = numbers[this.#row + place] as number
      to[row + place] = place < PLACES && number > 0 ? number + shift : number
    }
    to[row + AT] = at
  }

  /** The delta; a new one each time. */
  delta(): Delta {
    return JSON.parse(this.text)
  }
}
