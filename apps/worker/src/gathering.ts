import { type Delta, PartTable, RunPart, type Said } from '@stepwell/protocol'
import { type Folding, recordOf } from './foldings.ts'
import type { Ticket } from './shard.ts'

/** Most milliseconds from its beginning that a run gathers: one that ends within them is never folded. */
export const GATHER_MAX_MS = 2_000
/** Most that gathers of a shard, and of one run, in UTF-16 units. */
const GATHERING_MAX_SIZE = 12 << 20
const RUN_MAX_SIZE = 64 << 10
/** What a delta takes in memory besides its text, about. */
const DELTA_SIZE = 48

interface Steps {
  count: number
  /** The most that was said to be started or completed. */
  expected: number
}

/** All that has come of a run, from its beginning; none of it is folded or stored, the stream keeps it. */
export interface Gathered {
  /** Its id. */
  trace: string
  startedAtMs: number
  /** Of each delta the text of its record (`recordOf`) behind its first bracket. Decoded it would take five times as much. */
  texts: string[]
  /** Of each delta the entry that brought it; unacked. */
  tickets: Ticket[]
  /** As long as all of them are parts of a run that went well (`RunPart`), in turn. */
  steps: Steps | undefined
  size: number
  /** When its beginning was read (Date.now()). */
  sinceMs: number
}

/**
 * Runs of one shard in memory: begun → gathering → over (stored, as if it had come whole), or too old or too large (folded, and from then on
 * everything that comes of it at once). Only a worker that is alone with its stream gathers: of several each has some of a
 * run's deltas, and what one kept to himself the one that has the end would miss.
 */
export class Gathering {
  /** In the order of their beginnings. */
  readonly #runs = new Map<string, Gathered>()
  #size = 0
  #isOn = false
  #wasAlone = false

  /** Whether nobody else reads the shard. That counts when it is seen twice: of workers that start together the first sees none. */
  noteAlone(isAlone: boolean): void {
    this.#isOn = isAlone && this.#wasAlone
    this.#wasAlone = isAlone
  }

  /**
   * Takes a delta in. Gives `kept`; or `passed`, where it is of a run that does not gather; or the run with this delta, where it
   * ends or is too much: out of the gathering.
   */
  add(
    ticket: Ticket,
    delta: Delta | RunPart,
    startedAtMs: number,
    nowMs: number,
  ): 'kept' | 'passed' | Gathered {
    let run = this.#runs.get(delta.t)
    if (run === undefined) {
      if (!this.#isOn || delta.b === undefined || this.#size > GATHERING_MAX_SIZE) return 'passed'
      const steps = { count: 0, expected: 0 }
      run = { trace: alone(delta.t), startedAtMs, texts: [], tickets: [], steps, size: 0, sinceMs: nowMs }
      this.#runs.set(run.trace, run)
    }
    const text = delta instanceof RunPart ? delta.textBehindId : alone(recordOf(delta).slice(1))
    const size = text.length + DELTA_SIZE
    noteSteps(run, delta)
    run.texts.push(text)
    run.tickets.push(ticket)
    run.size += size
    this.#size += size
    if (delta.e === undefined && run.size <= RUN_MAX_SIZE && this.#size <= GATHERING_MAX_SIZE) return 'kept'
    this.#remove(run)
    return run
  }

  /** Takes out what began to gather before then; everything where no run may begin to. */
  take(beforeMs: number): Gathered[] {
    const taken: Gathered[] = []
    for (const run of this.#runs.values()) {
      if (this.#isOn && run.sinceMs >= beforeMs) break
      this.#remove(run)
      taken.push(run)
    }
    return taken
  }

  #remove(run: Gathered): void {
    this.#runs.delete(run.trace)
    this.#size -= run.size
  }
}

function noteSteps(run: Gathered, part: Delta | RunPart): void {
  const { steps } = run
  if (steps === undefined) return
  const isNext =
    part instanceof RunPart &&
    (part.b === undefined) !== (run.texts.length === 0) &&
    (part.stepCount === 0 || part.firstStep === steps.count + 1)
  if (!isNext) {
    run.steps = undefined
    return
  }
  steps.count += part.stepCount
  steps.expected = Math.max(steps.expected, part.started, part.completed)
}

// Part of a text keeps all of it in memory. What is put together and then taken apart is a text of its own.
const alone = (text: string): string => ` ${text}`.slice(1)

// What stands in the text of a part (`RunPart`) before the steps, behind them, and before the counts. In metadata and attributes the same may stand: so the
// first of the one and the last of the other count, between which all that is said of steps stands as it came.
const [STEPS, STEPS_END, COUNTS] = [',"s":[', ']', ',"n":[']

/**
 * The run that is over with `end` as if it had come whole, where it went well: without a value for each step. Undefined where it has to be assembled.
 */
export function wholeRunOf({ trace, texts, steps }: Gathered, end: Delta | RunPart): RunPart | undefined {
  if (!(end instanceof RunPart) || end.e === undefined || steps === undefined) return undefined
  const begin = texts[0] as string
  const owner = begin.slice(0, begin.indexOf('"', SKILL_AT) + 1)
  const lists: string[] = []
  for (const text of texts) {
    if (!text.startsWith(owner)) return undefined
    const from = text.indexOf(STEPS)
    if (from >= 0) lists.push(text.slice(from + STEPS.length, text.lastIndexOf(STEPS_END + COUNTS)))
  }
  const stepsAt = begin.indexOf(STEPS)
  const head = begin.slice(0, stepsAt < 0 ? begin.lastIndexOf(COUNTS) : stepsAt)
  const counts = `${COUNTS}${steps.expected},${steps.expected}]`
  return wholeRun(`{"t":"${trace}",${head}${STEPS}${lists}${STEPS_END}${counts},"e":["s",${end.e}]}`)
}

/** Where the name of the skill begins: `"k":"…`. */
const SKILL_AT = 5

function wholeRun(text: string): RunPart | undefined {
  const run = new PartTable(Buffer.from(text)).read(0)
  return run?.isWhole ? run : undefined
}

/** What is said of the run. */
export const saidOfRun = ({ trace, texts, tickets }: Gathered): Said[] =>
  saidOf({ trace, texts: texts.map((text) => `{${text}`), tickets })

/** What the texts of records say. */
export function saidOf({ trace, texts, tickets }: Pick<Folding, 'trace' | 'texts' | 'tickets'>): Said[] {
  const deltas = JSON.parse(`[${texts.join(',')}]`) as Delta[]
  return deltas.map((delta, i) => {
    delta.t ??= trace.slice(0, 36)
    return { producer: delta.k === undefined ? (tickets[i] as Ticket).producer : '', delta }
  })
}
