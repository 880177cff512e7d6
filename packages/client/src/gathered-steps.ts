import { JsonBytes } from '@stepwell/protocol'

/** Some completed steps as they travel, commas between them. */
export interface Stretch {
  readonly text: string
  readonly steps: number
}

/** From this length on what gathers becomes a stretch. */
const STRETCH_LENGTH = 4_096
const COMMA = 44

/** Where steps gather: those of the trace that was recorded in last, for its next ones mostly follow. One for the process. */
const page = new JsonBytes()
/** Whose steps are on the page. */
let owner: GatheredSteps | undefined
/** Where the steps on it begin that are in no stretch yet, and where the step begins that is being written; -1: none is. */
let from = 0
let writingAt = -1
/** How many units stood before that one. */
let unitsBefore = 0

/**
 * The completed steps of one trace that wait. Written to the page → (when another trace needs it, or a call asks for all, which takes a
 * tenth less of all that a step takes than a call for each) a stretch, a text → taken for a frame.
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
    if (this.#steps > 0) page.byte(COMMA)
    writingAt = page.length
    unitsBefore = page.units
    return page
  }

  /** What is written of the step. */
  textOf(out: JsonBytes): string {
    return out === page ? page.text(writingAt) : out.text()
  }

  /** Its length, in UTF-16 units. */
  lengthOf(out: JsonBytes): number {
    return out === page ? page.units - unitsBefore : out.units
  }

  /** The step is there. */
  keep(out: JsonBytes): void {
    if (out !== page) {
      this.#add({ text: out.text(), steps: 1 })
      return
    }
    writingAt = -1
    this.#steps += 1
  }

  /** The step is not to be kept, however much of it is written. */
  undo(out: JsonBytes): void {
    if (out !== page) return
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
    if (this.#steps === 0) return
    const isWriting = writingAt >= 0
    // Before the step that is being written there is a comma.
    const text = page.text(from, isWriting ? writingAt - 1 : page.length)
    const steps = this.#steps
    this.#steps = 0
    from = isWriting ? writingAt : 0
    if (!isWriting) page.clear()
    this.#add({ text, steps })
  }

  #add(stretch: Stretch): void {
    this.#stretches.push(stretch)
    this.#onStretch.remember(stretch)
  }

  /** Takes the stretches that fit into `maxLength`, one at least; `rest` tells whether others stay. */
  take(maxLength: number): { texts: string[]; steps: number; length: number; rest: boolean } {
    const texts: string[] = []
    let steps = 0
    let length = 0
    for (const stretch of this.#stretches) {
      // One at least: a frame takes the largest alone.
      if (texts.length > 0 && length + stretch.text.length >= maxLength) break
      texts.push(stretch.text)
      steps += stretch.steps
      length += stretch.text.length + 1
    }
    const rest = texts.length < this.#stretches.length
    this.#stretches = rest ? this.#stretches.slice(texts.length) : []
    return { texts, steps, length, rest }
  }
}
