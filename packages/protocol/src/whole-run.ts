import type { Delta } from './delta.ts'
import { DELTA_CUT } from './frame-cuts.ts'
import { traceIdStart } from './ids.ts'
import { ERROR_MAX_LENGTH, NAME_MAX_LENGTH } from './plain-json.ts'

// Steps stand in the table as they stand on the wire. So of a run that comes whole, and as our client writes it, the text of its steps
// can be taken as it is: nine in ten of the values that a worker would make of them live only to be written again.

/**
 * A whole delta of a run that went well, as its text tells it: what its row takes from it, without a value for each step. The row is
 * the one that assembling the delta gives. Read in 2 µs for ten steps; parsed, assembled and written again they take 13, a third of
 * what a worker does for a run.
 */
export class WholeRun {
  /** Trace id. */
  readonly t: string
  readonly startedAtMs: number
  readonly skill: string
  readonly executionId: string | null
  readonly completedAtMs: number
  readonly durationMs: number
  readonly stepCount: number
  /** JSON text of the list of steps, each in its canonical form. */
  readonly steps: string
  /** JSON text. */
  readonly metadata: string
  /** JSON text of the delta. */
  readonly text: string

  constructor(run: Omit<WholeRun, 'delta'>) {
    this.t = run.t
    this.startedAtMs = run.startedAtMs
    this.skill = run.skill
    this.executionId = run.executionId
    this.completedAtMs = run.completedAtMs
    this.durationMs = run.durationMs
    this.stepCount = run.stepCount
    this.steps = run.steps
    this.metadata = run.metadata
    this.text = run.text
  }

  /** The delta; a new one each time. */
  delta(): Delta {
    return JSON.parse(this.text)
  }
}

// What is not of these forms is parsed like any other delta. Texts: without escapes. Numbers: as JSON.stringify writes them, of
// at most 15 digits, so that nothing is lost by parsing them, and nothing is by not doing so.
const NAME = String.raw`[^"\\\x00-\x1f]{0,${NAME_MAX_LENGTH}}`
const MESSAGE = String.raw`"[^"\\\x00-\x1f]{1,${ERROR_MAX_LENGTH}}"`
const TEXT = String.raw`"[^"\\\x00-\x1f]*"`
const UNSIGNED = String.raw`(?:0|[1-9]\d{0,8})(?:\.\d{0,5}[1-9])?`
const NUMBER = `-?${UNSIGNED}`
const COUNT = String.raw`[1-9]\d{0,8}`
const VALUE = `(?:${TEXT}|${NUMBER}|true|false|null)`
const FLAT = `\\{(?:${TEXT}:${VALUE}(?:,${TEXT}:${VALUE})*)?\\}`
const UUID7 = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}'

/** A delta up to its first step. */
const HEAD = new RegExp(
  String.raw`\{"t":"(${UUID7})","k":"(?!")(${NAME})","b":1(?:,"x":"(?!")(${NAME})")?(?:,"m":(${FLAT}))?(?:,"r":1)?,"s":\[`,
  'y',
)
/** A step from its name on: it is over, and what ends it is no default. */
const STEP = new RegExp(
  `${NAME}",(?:null|${NUMBER}),${UNSIGNED}(?:,[12]|,[012],${MESSAGE}|,[012],null,${COUNT}|,[012],null,(?:null|${COUNT}),${FLAT})?\\]`,
  'y',
)
const TAIL = new RegExp(
  String.raw`\],"n":\[(${COUNT}),(${COUNT})\],"e":\["s",(${NUMBER}),(${UNSIGNED})\]\}`,
  'y',
)
const COMMA = 0x2c

/** The run that stands at this place of a JSON text; undefined where something else stands there, or one of another form. */
export function wholeRunAt(text: string, at: number): WholeRun | undefined {
  HEAD.lastIndex = at
  const head = HEAD.exec(text)
  if (head === null) return undefined
  const stepsAt = HEAD.lastIndex - 1
  const t = head[1] as string
  const startedAtMs = traceIdStart(t)
  if (startedAtMs === undefined) return undefined
  let end = stepsAt
  let stepCount = 0
  do {
    stepCount += 1
    // Ids from 1 on: so no two are the same, and they are in the order in which they are stored.
    const begin = `[${stepCount},"`
    if (!text.startsWith(begin, end + 1)) return undefined
    STEP.lastIndex = end + 1 + begin.length
    if (!STEP.test(text)) return undefined
    end = STEP.lastIndex
  } while (text.charCodeAt(end) === COMMA)
  TAIL.lastIndex = end
  const tail = TAIL.exec(text)
  if (tail === null || Number(tail[1]) !== stepCount || Number(tail[2]) !== stepCount) return undefined
  return new WholeRun({
    t,
    startedAtMs,
    skill: head[2] as string,
    executionId: head[3] ?? null,
    metadata: head[4] ?? '{}',
    completedAtMs: startedAtMs + Math.floor(Number(tail[3])),
    durationMs: Number(tail[4]),
    stepCount,
    steps: text.slice(stepsAt, end + 1),
    text: text.slice(at, TAIL.lastIndex),
  })
}

/** What JSON.parse gives of the deltas of a frame, but for whole runs, which are left as they stand. Throws as it does. */
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

/** The whole runs of a list of deltas, and the texts of what stands between its commas; undefined where it has no such run. */
function cutAroundRuns(text: string): (WholeRun | string)[] | undefined {
  // A text that ends otherwise would be cut for ever.
  if (!text.startsWith('[') || !text.endsWith(']')) return undefined
  const pieces: (WholeRun | string)[] = []
  let hasRuns = false
  let at = 0
  do {
    at += 1
    const run = wholeRunAt(text, at)
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
