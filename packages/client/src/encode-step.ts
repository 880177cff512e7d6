import type { StepId } from '@stepwell/protocol'

/** Milliseconds to the microsecond. */
export const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000

/** `''`, `.001`, `.002`, … `.999`, less the zeros at their ends. */
const FRACTIONS = Array.from({ length: 1000 }, (_, micros) => String((1000 + micros) / 1000).slice(1))
/** Up to here microseconds are small integers for the engine: 35 minutes. */
const SHORT_MS = 2 ** 31 / 1000 - 1

/** `roundMs` as JSON text, in a tenth of the time that the text of a fraction takes. */
function msText(ms: number): string {
  if (!(ms >= 0 && ms < SHORT_MS)) return String(roundMs(ms))
  const micros = Math.round(ms * 1000)
  const whole = Math.trunc(micros / 1000)
  return whole + (FRACTIONS[micros - whole * 1000] as string)
}

const names = new Map<string, string>()
const NAMES_MAX = 1_000

/** A name as JSON text. Programs use few names and use them often. */
export function nameText(name: string): string {
  let text = names.get(name)
  if (text === undefined) {
    text = JSON.stringify(name)
    if (names.size >= NAMES_MAX) names.clear()
    names.set(name, text)
  }
  return text
}

/** Whether the name was encoded before, so that it needs no cleaning. */
export const isKnownName = (name: string): boolean => names.has(name)

const BRACKET = '['.charCodeAt(0)

/** A step as it travels (docs/PROTOCOL.md), defaults at the end left out. `durationMs` null: it is open. */
export function stepText(
  step: { id: StepId; name: string; parentId: StepId | undefined; attributes: string | undefined },
  startMs: number | null,
  durationMs: number | null,
  status: number,
  errorMessage: string | undefined,
): string {
  let text = `[${idText(step.id)},${nameText(step.name)},${startMs === null ? 'null' : msText(startMs)}`
  const last =
    step.attributes !== undefined
      ? 7
      : step.parentId !== undefined
        ? 6
        : errorMessage !== undefined
          ? 5
          : status !== 0
            ? 4
            : durationMs !== null
              ? 3
              : 2
  if (last >= 3) text += durationMs === null ? ',null' : `,${msText(durationMs)}`
  if (last >= 4) text += `,${status}`
  if (last >= 5) text += errorMessage === undefined ? ',null' : `,${JSON.stringify(errorMessage)}`
  if (last >= 6) text += step.parentId === undefined ? ',null' : `,${idText(step.parentId)}`
  if (last >= 7) text += `,${step.attributes}`
  text += ']'
  // Reading a letter makes one flat string of all the parts, in a third of the memory: what waits to be sent may wait long.
  // It has to matter what the letter is, or the optimizer leaves the reading out.
  return text.charCodeAt(0) === BRACKET ? text : ''
}

// Ids that others gave, those of parents, may hold any letter.
const idText = (id: StepId): string => (typeof id === 'number' ? String(id) : JSON.stringify(id))
