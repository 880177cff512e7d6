import type { Delta } from './delta.ts'
import { traceIdStart } from './ids.ts'
import { ERROR_MAX_LENGTH, NAME_MAX_LENGTH } from './plain-json.ts'

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

/** A delta up to its steps, or to its counts where it has none. */
const HEAD = new RegExp(
  String.raw`\{"t":"(${UUID7})","k":"(?!")(${NAME})"(?:,("b":1)(?:,"x":"(?!")(${NAME})")?(?:,"m":(${FLAT}))?(?:,"r":1)?)?,"(s":\[|n":\[)`,
  'y',
)
const FIRST_ID = new RegExp(String.raw`\[(${COUNT}),"`, 'y')
/** A step from its name on: it is over, and what ends it is no default. */
const STEP = new RegExp(
  `${NAME}",(?:null|${NUMBER}),${UNSIGNED}(?:,[12]|,[012],${MESSAGE}|,[012],null,${COUNT}|,[012],null,(?:null|${COUNT}),${FLAT})?\\]`,
  'y',
)
/** What a step with this id begins with. Made once: for ten steps of a run this takes a tenth of all that a worker allocates. */
const BEGINNINGS = Array.from({ length: 256 }, (_, id) => `[${id},"`)
const beginningOf = (id: number): string => BEGINNINGS[id] ?? `[${id},"`
/** What follows on the steps, up to the counts. */
const COUNTS = '],"n":['
const TAIL = new RegExp(
  String.raw`(0|${COUNT}),(0|${COUNT})\](?:,"e":\["s",(${NUMBER}),(${UNSIGNED})\])?\}`,
  'y',
)
const COMMA = 0x2c

/** What the owner of a run says of it between two flushes, as its text tells it, without a value for each step; nothing but what goes well. */
export class RunPart {
  /** Trace id. */
  readonly t: string
  readonly startedAtMs: number
  /** Skill. */
  readonly k: string
  /** 1: the beginning. */
  readonly b: 1 | undefined
  /** Execution id. */
  readonly x: string | undefined
  /** JSON text. */
  readonly metadata: string | undefined
  /** Id of the first step; each other has the next. */
  readonly firstStep: number
  readonly stepCount: number
  /** Where the steps begin in the text, and where they end: without the brackets around them. */
  readonly stepsFrom: number
  readonly stepsTo: number
  /** Steps started and completed. */
  readonly n: readonly [started: number, completed: number]
  /** The end: milliseconds from the start, and duration. */
  readonly e: readonly [offsetMs: number, durationMs: number] | undefined
  /** JSON text of the delta. */
  readonly text: string

  constructor(part: Omit<RunPart, 'delta'>) {
    this.t = part.t
    this.startedAtMs = part.startedAtMs
    this.k = part.k
    this.b = part.b
    this.x = part.x
    this.metadata = part.metadata
    this.firstStep = part.firstStep
    this.stepCount = part.stepCount
    this.stepsFrom = part.stepsFrom
    this.stepsTo = part.stepsTo
    this.n = part.n
    this.e = part.e
    this.text = part.text
  }

  /** The delta; a new one each time. */
  delta(): Delta {
    return JSON.parse(this.text)
  }
}

/** What stands at this place of a JSON text; undefined where it is something else, or of another form. */
export function runPartAt(text: string, at: number): RunPart | undefined {
  HEAD.lastIndex = at
  const head = HEAD.exec(text)
  if (head === null) return undefined
  const t = head[1] as string
  const startedAtMs = traceIdStart(t)
  if (startedAtMs === undefined) return undefined
  const stepsFrom = HEAD.lastIndex
  let end = stepsFrom
  let [firstStep, stepCount] = [0, 0]
  if (head[6] === 's":[') {
    firstStep = 1
    if (!text.startsWith(beginningOf(1), end)) {
      FIRST_ID.lastIndex = end
      firstStep = Number(FIRST_ID.exec(text)?.[1])
    }
    // Ids in turn: so no two are the same, and they are in the order in which they are stored.
    for (end -= 1; ; ) {
      const begin = beginningOf(firstStep + stepCount)
      if (!text.startsWith(begin, end + 1)) return undefined
      STEP.lastIndex = end + 1 + begin.length
      if (!STEP.test(text)) return undefined
      stepCount += 1
      end = STEP.lastIndex
      if (text.charCodeAt(end) !== COMMA) break
    }
    if (!text.startsWith(COUNTS, end)) return undefined
    TAIL.lastIndex = end + COUNTS.length
  } else TAIL.lastIndex = end
  const tail = TAIL.exec(text)
  if (tail === null) return undefined
  return new RunPart({
    t,
    startedAtMs,
    k: head[2] as string,
    b: head[3] === undefined ? undefined : 1,
    x: head[4],
    metadata: head[5],
    firstStep,
    stepCount,
    stepsFrom: stepsFrom - at,
    stepsTo: end - at,
    n: [Number(tail[1]), Number(tail[2])],
    e: tail[3] === undefined ? undefined : [Number(tail[3]), Number(tail[4])],
    text: text.slice(at, TAIL.lastIndex),
  })
}
