import type { Delta } from './delta.ts'
import { DELTA_CUT } from './frame-cuts.ts'
import { type RunPart, runPartAt } from './run-part.ts'

// Steps stand in the table as they stand on the wire. So of a run that comes whole, and as our client writes it, the text of its steps
// can be taken as it is: nine in ten of the values that a worker would make of them live only to be written again.

/** What a run that went well has in its row, its steps and metadata as text: the row that assembling what is said of it gives. */
export interface PlainRun {
  /** Trace id. */
  t: string
  startedAtMs: number
  skill: string
  executionId: string | null
  completedAtMs: number
  durationMs: number
  stepCount: number
  /** JSON text of the list of steps, each in its canonical form. */
  steps: string
  /** JSON text. */
  metadata: string
}

/**
 * A whole delta of a run that went well, as its text tells it. Read in 2 µs for ten steps; parsed, assembled and written again they take 13,
 * a third of what a worker does for a run.
 */
export class WholeRun implements PlainRun {
  readonly t: string
  readonly startedAtMs: number
  readonly skill: string
  readonly executionId: string | null
  readonly completedAtMs: number
  readonly durationMs: number
  readonly stepCount: number
  readonly steps: string
  readonly metadata: string
  /** JSON text of the delta. */
  readonly text: string

  constructor(run: PlainRun, text: string) {
    this.t = run.t
    this.startedAtMs = run.startedAtMs
    this.skill = run.skill
    this.executionId = run.executionId
    this.completedAtMs = run.completedAtMs
    this.durationMs = run.durationMs
    this.stepCount = run.stepCount
    this.steps = run.steps
    this.metadata = run.metadata
    this.text = text
  }

  /** The delta; a new one each time. */
  delta(): Delta {
    return JSON.parse(this.text)
  }
}

/** The run that its first part begins and its last one ends; `steps`: the list of all of them, from 1 on. */
export function plainRun(
  { t, startedAtMs, k, x, metadata }: RunPart,
  [offsetMs, durationMs]: NonNullable<RunPart['e']>,
  steps: string,
  stepCount: number,
): PlainRun {
  return {
    t,
    startedAtMs,
    skill: k,
    executionId: x ?? null,
    metadata: metadata ?? '{}',
    completedAtMs: startedAtMs + Math.floor(offsetMs),
    durationMs,
    stepCount,
    steps,
  }
}

/** The run that stands at this place of a JSON text; undefined where something else stands there, or one of another form. */
export function wholeRunAt(text: string, at: number): WholeRun | undefined {
  const part = runPartAt(text, at)
  return part && wholeRunOf(part)
}

function wholeRunOf(part: RunPart): WholeRun | undefined {
  const { b, e, firstStep, stepCount, n, text, stepsFrom, stepsTo } = part
  const isWhole =
    b !== undefined && e !== undefined && firstStep === 1 && n[0] === stepCount && n[1] === stepCount
  if (!isWhole) return undefined
  // With the brackets around them.
  const steps = stepCount === 0 ? '[]' : text.slice(stepsFrom - 1, stepsTo + 1)
  return new WholeRun(plainRun(part, e, steps, stepCount), text)
}

/** What JSON.parse gives of the deltas of a frame, but for runs and their parts, which are left as they stand. Throws as it does. */
export function parseAroundRuns(text: string): unknown {
  const pieces = cutAroundRuns(text)
  if (pieces === undefined) return JSON.parse(text)
  try {
    // Each by itself is JSON, so together they are a list of these.
    return pieces.map((piece) => (typeof piece === 'string' ? JSON.parse(piece) : piece))
  } catch {
    // One was cut where no delta ends; or what is wrong is said better of the whole.
    return JSON.parse(text)
  }
}

/** Runs and parts of a list of deltas, and the texts of what stands between its commas; undefined where it has none. */
function cutAroundRuns(text: string): (WholeRun | RunPart | string)[] | undefined {
  // A text that ends otherwise would be cut for ever.
  if (!text.startsWith('[') || !text.endsWith(']')) return undefined
  const pieces: (WholeRun | RunPart | string)[] = []
  let hasRuns = false
  let at = 0
  do {
    at += 1
    const part = runPartAt(text, at)
    const run = part && runOrPart(part)
    if (run !== undefined) {
      hasRuns = true
      pieces.push(run)
      at += run.text.length
      continue
    }
    const cut = text.indexOf(DELTA_CUT, at)
    const end = cut < 0 ? text.length - 1 : cut + 1
    pieces.push(text.slice(at, end))
    at = end
  } while (text.charCodeAt(at) === COMMA)
  return hasRuns && at === text.length - 1 ? pieces : undefined
}

const COMMA = 0x2c

/** Neither of a run that comes whole and lacks something. */
const runOrPart = (part: RunPart): WholeRun | RunPart | undefined =>
  part.b !== undefined && part.e !== undefined ? wholeRunOf(part) : part
