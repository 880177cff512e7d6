import { JsonBytes, type StepId } from '@stepwell/protocol'
import { learnedName } from './known-names.ts'

/** Milliseconds to the microsecond. */
export const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000

/** Up to here microseconds are small integers for the engine: 35 minutes. */
const SHORT_MS = 2 ** 31 / 1000 - 1
const ZERO = 48
const POINT = 46
const COMMA = 44
const OPEN = 91
const CLOSE = 93

/** Writes `roundMs` as JSON: digit by digit, for the text of a fraction takes four times as long. */
export function writeMs(out: JsonBytes, ms: number): void {
  if (!(ms > -SHORT_MS && ms < SHORT_MS)) {
    out.json(String(roundMs(ms)))
    return
  }
  const micros = Math.round(ms * 1000) | 0
  if (micros < 0) out.minus()
  const absolute = micros < 0 ? -micros : micros
  const whole = (absolute / 1000) | 0
  out.digits(whole)
  const fraction = absolute - whole * 1000
  if (fraction === 0) return
  const tenths = (fraction / 100) | 0
  const hundredths = (fraction / 10) | 0
  out.byte(POINT)
  out.byte(ZERO + tenths)
  if (fraction === tenths * 100) return
  out.byte(ZERO + hundredths - tenths * 10)
  if (fraction !== hundredths * 10) out.byte(ZERO + fraction - hundredths * 10)
}

/** Status and error message of a step without one. */
const NO_MESSAGE = [',0,null', ',1,null', ',2,null'].map((text) => Buffer.from(text))
const NO_MESSAGE_NO_PARENT = [',0,null,null,', ',1,null,null,', ',2,null,null,'].map((text) =>
  Buffer.from(text),
)
const NULL = Buffer.from('null')

/** A step as it is written, but for its attributes and its times. */
export interface WrittenStep {
  readonly id: StepId
  readonly name: string
  readonly parentId?: StepId | undefined
}

/** Writes a step as it travels (docs/PROTOCOL.md), defaults at the end left out. `durationMs` null: it is open. */
export function writeStep(
  out: JsonBytes,
  step: WrittenStep,
  startMs: number | null,
  durationMs: number | null,
  status: number,
  errorMessage: string | undefined,
  attributes: string | undefined,
): void {
  const { parentId } = step
  if (attributes !== undefined) {
    writeToAttributes(out, step, startMs, durationMs, status, errorMessage)
    out.json(attributes)
  } else {
    writeHead(out, step, startMs)
    const isShort = parentId === undefined && errorMessage === undefined
    if (!isShort || status !== 0 || durationMs !== null) writeDuration(out, durationMs)
    if (isShort && status !== 0) {
      out.byte(COMMA)
      out.digits(status)
    } else if (!isShort) {
      writeMessage(out, status, errorMessage)
      if (parentId !== undefined) {
        out.byte(COMMA)
        writeId(out, parentId)
      }
    }
  }
  out.byte(CLOSE)
}

/** The same up to the attributes: they are to be written next, and then a closing bracket. */
export function writeToAttributes(
  out: JsonBytes,
  step: WrittenStep,
  startMs: number | null,
  durationMs: number | null,
  status: number,
  errorMessage: string | undefined,
): void {
  const { parentId } = step
  writeHead(out, step, startMs)
  writeDuration(out, durationMs)
  if (errorMessage === undefined && parentId === undefined) {
    out.ascii(NO_MESSAGE_NO_PARENT[status] as Uint8Array)
    return
  }
  writeMessage(out, status, errorMessage)
  out.byte(COMMA)
  if (parentId === undefined) out.ascii(NULL)
  else writeId(out, parentId)
  out.byte(COMMA)
}

/** Closes a step whose attributes were written. */
export const closeStep = (out: JsonBytes): void => out.byte(CLOSE)

const scratch = new JsonBytes()

/** A step as a text of its own. */
export function stepText(
  step: WrittenStep & { readonly attributes?: string | undefined },
  startMs: number | null,
  durationMs: number | null,
  status: number,
  errorMessage: string | undefined,
): string {
  scratch.clear()
  writeStep(scratch, step, startMs, durationMs, status, errorMessage, step.attributes)
  return scratch.text()
}

function writeHead(out: JsonBytes, { id, name }: WrittenStep, startMs: number | null): void {
  out.byte(OPEN)
  writeId(out, id)
  const { text, bytes } = learnedName(name)
  if (bytes === undefined) out.json(text)
  else out.ascii(bytes)
  if (startMs === null) out.ascii(NULL)
  else writeMs(out, startMs)
}

function writeDuration(out: JsonBytes, durationMs: number | null): void {
  out.byte(COMMA)
  if (durationMs === null) out.ascii(NULL)
  else writeMs(out, durationMs)
}

function writeMessage(out: JsonBytes, status: number, errorMessage: string | undefined): void {
  if (errorMessage === undefined) {
    out.ascii(NO_MESSAGE[status] as Uint8Array)
    return
  }
  out.byte(COMMA)
  out.digits(status)
  out.byte(COMMA)
  out.json(JSON.stringify(errorMessage))
}

// Ids that others gave, those of parents, may hold any letter.
function writeId(out: JsonBytes, id: StepId): void {
  if (typeof id === 'number') out.number(id)
  else out.json(JSON.stringify(id))
}
