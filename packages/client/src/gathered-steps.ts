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
  readonly #onStretch: { remember(stretch: Stretch): void }
  #stretches: Stretch[] = []
  /** On the page. */
  #steps = 0

  /** Each stretch is told of when it is made. */
  constructor(onStretch: { remember(stretch: Stretch): void }) {
    this.#onStretch = onStretch
  }

  /**
   * Where to write one step; then MUST come `keep` or `undo`. What runs meanwhile, a getter of attributes, may begin others, of this
   * trace or of another: each is written to a piece of its own.
   */
  begin(): JsonBytes {
    if (writingAt >= 0) return new JsonBytes()
    if (owner !== this) {
      owner?.gather()
      owner = this
    }
    if (page.length > SLAB_BYTES - SLAB_REST) {
      this.gather()
      turnPage()
    }
    if (this.#steps > 0) page.byte(COMMA)
    writingAt = page.length
    unitsBefore = page.units
    return page
  }

  /** Its length, in bytes. */
  lengthOf(out: JsonBytes): number {
    return out === page ? page.length - writingAt : out.length
  }

  /** The step is there. */
  keep(out: JsonBytes): void {
    if (out !== page) {
      this.#add(stretchOf(out, 0))
      return
    }
    writingAt = -1
    this.#steps += 1
  }

  /** The step is not to be kept, however much of it is written. Gives a copy of what is. */
  undo(out: JsonBytes): Stretch {
    if (out !== page) return stretchOf(out, 0)
    const written = stretchOf(out, writingAt)
    const comma = this.#steps > 0 ? 1 : 0
    page.cutBack(writingAt - comma, unitsBefore - comma)
    writingAt = -1
    return written
  }

  /** Whether it is time to gather. */
  get isLong(): boolean {
    return owner === this && page.length - from >= STRETCH_LENGTH
  }

  /** Makes one stretch of what was added since the last. */
  gather(): void {
    const steps = this.#steps
    if (steps === 0) return
    this.#steps = 0
    // The page became larger: what is in the slab from before stays there.
    if (page.memory !== slab.memory) slab = new Slab(page.memory)
    const isWriting = writingAt >= 0
    // Before the step that is being written there is a comma.
    const to = isWriting ? writingAt - 1 : page.length
    const units = (isWriting ? unitsBefore - 1 : page.units) - unitsBeforeFrom
    const stretch = new Stretch(slab, from, to - from, units, steps)
    from = isWriting ? writingAt : page.length
    unitsBeforeFrom = isWriting ? unitsBefore : page.units
    this.#add(stretch)
  }

  #add(stretch: Stretch): void {
    this.#stretches.push(stretch)
    this.#onStretch.remember(stretch)
  }

  get isEmpty(): boolean {
    return this.#stretches.length === 0
  }

  /** Takes the stretches that fit into `maxLength`, one at least, and writes them; `rest` tells whether others stay. */
  take(out: JsonBytes, maxLength: number): { steps: number; rest: boolean } {
    const begin = out.length
    let steps = 0
    let taken = 0
    for (const stretch of this.#stretches) {
      // One at least: a frame takes the largest alone.
      if (taken > 0 && out.length - begin + stretch.length >= maxLength) break
      if (taken > 0) out.byte(COMMA)
      const left = stretch.moveTo(out)
      if (left !== undefined) leave(left)
      steps += stretch.steps
      taken += 1
    }
    const rest = taken < this.#stretches.length
    this.#stretches = rest ? this.#stretches.slice(taken) : []
    return { steps, rest }
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
  if (slab.stretches === 0) freeSlab(slab)
  slab = takeSlab()
  rewind()
}

function rewind(): void {
  page.moveTo(slab.memory)
  from = 0
  unitsBeforeFrom = 0
}

/** All that waited in the slab is taken. */
function leave(left: Slab): void {
  if (left !== slab) freeSlab(left)
  else if (writingAt < 0 && from === page.length) {
    if (slab.memory.length > SLAB_BYTES) slab = takeSlab()
    rewind()
  }
}
