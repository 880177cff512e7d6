import type { StepId } from '@stepwell/protocol'

/** Milliseconds to the microsecond. */
export const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000

/** `''`, `.001`, `.002`, … `.999`, less the zeros at their ends. */
const FRACTIONS = Array.from({ length: 1000 }, (_, micros) => String((1000 + micros) / 1000).slice(1))
/** Up to here microseconds are small integers for the engine: 35 minutes. */
const SHORT_MS = 2 ** 31 / 1000 - 1

/** `roundMs` as JSON text, in a quarter of the time that the text of a fraction takes. */
export function msText(ms: number): string {
  if (!(ms > -SHORT_MS && ms < SHORT_MS)) return String(roundMs(ms))
  const micros = Math.round(ms * 1000) | 0
  const absolute = micros < 0 ? -micros : micros
  const whole = (absolute / 1000) | 0
  const text = whole + (FRACTIONS[absolute - whole * 1000] as string)
  return micros < 0 ? `-${text}` : text
}

/** Names as they stand in a step, commas around them. */
const names = new Map<string, string>()
const NAMES_MAX = 1_000

// Programs use few names and use them often.
function nameBetween(name: string): string {
  let text = names.get(name)
  if (text === undefined) {
    text = `,${JSON.stringify(name)},`
    if (names.size >= NAMES_MAX) names.clear()
    names.set(name, text)
  }
  return text
}

/** A name as JSON text. */
export const nameText = (name: string): string => nameBetween(name).slice(1, -1)

/** Whether the name was encoded before, so that it needs no cleaning. */
export const isKnownName = (name: string): boolean => names.has(name)

/** Status and error message of a step without one. */
const NO_MESSAGE = [',0,null', ',1,null', ',2,null']

/**
 * A step as it travels (docs/PROTOCOL.md), defaults at the end left out. `durationMs` null: it is open. In few large pieces: added one
 * by one they take half as long again. The text is not flat.
 */
export function stepText(
  step: { id: StepId; name: string; parentId: StepId | undefined; attributes: string | undefined },
  startMs: number | null,
  durationMs: number | null,
  status: number,
  errorMessage: string | undefined,
): string {
  const { parentId, attributes } = step
  const head = `[${idText(step.id)}${nameBetween(step.name)}${startMs === null ? 'null' : msText(startMs)}`
  const isShort = attributes === undefined && parentId === undefined && errorMessage === undefined
  if (isShort && status === 0) return durationMs === null ? `${head}]` : `${head},${msText(durationMs)}]`
  const duration = durationMs === null ? 'null' : msText(durationMs)
  if (isShort) return `${head},${duration},${status}]`
  const message =
    errorMessage === undefined ? NO_MESSAGE[status] : `,${status},${JSON.stringify(errorMessage)}`
  const parent = parentId === undefined ? 'null' : idText(parentId)
  if (attributes !== undefined) return `${head},${duration}${message},${parent},${attributes}]`
  return parentId === undefined
    ? `${head},${duration}${message}]`
    : `${head},${duration}${message},${parent}]`
}

const BRACKET = '['.charCodeAt(0)

/**
 * The same text of one or more steps, in a third of the memory or less: reading a letter makes one flat string of all the parts. It has to
 * matter what the letter is, or the optimizer leaves the reading out.
 */
export const flat = (text: string): string => (text.charCodeAt(0) === BRACKET ? text : '')

// Ids that others gave, those of parents, may hold any letter.
const idText = (id: StepId): string => (typeof id === 'number' ? String(id) : JSON.stringify(id))
