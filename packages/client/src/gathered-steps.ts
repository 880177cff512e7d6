import { JsonBytes } from '@stepwell/protocol'
import { freeSlab, SLAB_BYTES, Slab, takeSlab } from './slab.ts'
import { Stretch } from './stretch.ts'

/** From this length on what gathers becomes a stretch. */
const STRETCH_LENGTH = 4_096
/** With less than this left of a slab the next step is written to another. */
const SLAB_REST = 4_096
const COMMA = 44

/** Where steps gather: in the slab that is written to. One for the process. */
let slab = takeSlab()
const page = new JsonBytes(slab.memory)
/** Whose steps are on it that are in no stretch yet: those of the trace that was recorded in last, for its next ones mostly follow. */
let owner: GatheredSteps | undefined
/** Where these begin, and where the step begins that is being written; -1: none is. */
let from = 0
let writingAt = -1
/** How many units stood before each. */
let unitsBeforeFrom = 0
let unitsBefore = 0

/**
 * The completed steps of one trace that wait. Written to the page → (when another trace needs it, or a call asks for all, which takes a
 * tenth less of all that a step takes than a call for each) a stretch → taken for a frame. They stay bytes all the way: as texts, joined and
 * encoded once more, a step with four attributes took an eighth more.
 */
export class GatheredSteps {
  /**
   * What a step was being written to when the stack had no more room. It is put here, for a call would find none either: the next step
   * that begins takes the place of that one.
   */
  abandoned: JsonBytes | undefined
  readonly #onStretch: { remember(stretch: Stretch): void }
  /** Those that wait, one after the other. With a list of them, made anew for each frame, a run whose steps are sent alone took 32 µs instead of 28. */
  #first: Stretch | undefined
  #last: Stretch | undefined
  /** On the page. */
  #steps = 0

  /** Each stretch is told of when it is made. */
  constructor(onStretch: { remember(stretch: Stretch): void }) {
    this.#onStretch = onStretch
  }

  /**
   * Where to write one step; then MUST come `keep` or `undo`, or it is `abandoned`. What runs meanwhile, a getter of attributes, may
   * begin others, of this trace or of another: each is written to a piece of its own.
   */
  begin(): JsonBytes {
    if (writingAt >= 0) {
      if (owner?.abandoned !== page) return new JsonBytes()
      owner.#takeBack()
    }
    if (owner !== this) {
      owner?.gather()
      owner = this
    }
    if (page.length > SLAB_BYTES - SLAB_REST) {
      this.gather()
      turnPage()
    }
    const isFirst = this.#steps === 0
    unitsBefore = page.units + (isFirst ? 0 : 1)
    if (!isFirst) page.byte(COMMA)
    // Behind the comma nothing is called, and so nothing fails.
    writingAt = page.length
    this.abandoned = undefined
    return page
  }

  /** Its length, in bytes. */
  lengthOf(out: JsonBytes): number {
    return out === page ? page.length - writingAt : out.length
  }

  /** The step is there. */
  keep(out: JsonBytes): void {
    if (out !== page) {
      this.#append(stretchOf(out, 0))
      return
    }
    writingAt = -1
    this.#steps += 1
  }

  /** The step is not to be kept, however much of it is written. Gives a copy of what is. */
  undo(out: JsonBytes): Stretch {
    if (out !== page) return stretchOf(out, 0)
    const written = stretchOf(out, writingAt)
    this.#takeBack()
    return written
  }

  #takeBack(): void {
    const comma = this.#steps > 0 ? 1 : 0
    page.cutBack(writingAt - comma, unitsBefore - comma)
    writingAt = -1
  }

  /** Whether it is time to gather. */
  get isLong(): boolean {
    return owner === this && page.length - from >= STRETCH_LENGTH
  }

  /** Makes one stretch of what was added since the last. */
  gather(): void {
    const steps = this.#steps
    if (steps === 0) return
    // The page became larger: what is in the slab from before stays there.
    if (page.memory !== slab.memory) slab = new Slab(page.memory)
    const isWriting = writingAt >= 0
    // Before the step that is being written there is a comma.
    const to = isWriting ? writingAt - 1 : page.length
    const unitsTo = isWriting ? unitsBefore - 1 : page.units
    const stretch = new Stretch(slab, from, to - from, unitsTo - unitsBeforeFrom, steps)
    this.#steps = 0
    from = isWriting ? writingAt : to
    unitsBeforeFrom = isWriting ? unitsBefore : unitsTo
    this.#append(stretch)
  }

  #append(stretch: Stretch): void {
    if (this.#last === undefined) this.#first = stretch
    else this.#last.next = stretch
    this.#last = stretch
    this.#onStretch.remember(stretch)
  }

  get isEmpty(): boolean {
    return this.#first === undefined
  }

  /** Takes the stretches that fit into `maxLength`, one at least, and writes them; `rest` tells whether others stay. */
  take(out: JsonBytes, maxLength: number): { steps: number; rest: boolean } {
    const begin = out.length
    let steps = 0
    let isFirst = true
    for (let stretch = this.#first; stretch !== undefined; stretch = this.#first) {
      // One that does not is of a frame that is lost: the stack had no room to take what follows it.
      if (stretch.waits) {
        // One at least: a frame takes the largest alone.
        if (!isFirst && out.length - begin + stretch.length >= maxLength) return { steps, rest: true }
        if (!isFirst) out.byte(COMMA)
        isFirst = false
        const left = stretch.moveTo(out)
        if (left !== undefined) leave(left)
        steps += stretch.steps
      }
      this.#first = stretch.next
      // It may be remembered, and those behind it need not be.
      stretch.next = undefined
    }
    this.#last = undefined
    return { steps, rest: false }
  }
}

/** What is written there from here on, one step, in memory of its own. */
function stretchOf(out: JsonBytes, at: number): Stretch {
  const memory = Buffer.from(out.memory.subarray(at, out.length))
  const units = at === 0 ? out.units : out.units - unitsBefore
  return new Stretch(new Slab(memory), 0, memory.length, units, 1)
}

/** Nothing on the page waits to be gathered: goes on in another slab. */
function turnPage(): void {
  const full = slab
  rewind(takeSlab())
  if (full.stretches === 0) freeSlab(full)
}

/** Goes on at the beginning of this slab. */
function rewind(to: Slab): void {
  page.moveTo(to.memory)
  slab = to
  from = 0
  unitsBeforeFrom = 0
}

/** All that waited in the slab is taken. */
function leave(left: Slab): void {
  if (left !== slab) freeSlab(left)
  else if (writingAt < 0 && from === page.length) rewind(slab.memory.length > SLAB_BYTES ? takeSlab() : slab)
}
