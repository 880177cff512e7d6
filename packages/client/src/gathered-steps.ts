import { flat } from './encode-step.ts'

/** Some completed steps as they travel, commas between them. */
export interface Stretch {
  readonly text: string
  readonly steps: number
}

/** From this length on what gathers is made flat. */
const STRETCH_LENGTH = 4_096

/**
 * The completed steps of one trace that wait. A text that was added gathers: it is put together from dozens of parts, and takes some times
 * the memory of a flat one. Gathered → (a call for all, which takes a tenth less of all that a step takes than a call for each)
 * a flat stretch → taken for a frame.
 */
export class GatheredSteps {
  #stretches: Stretch[] = []
  #text = ''
  #steps = 0

  add(text: string): void {
    this.#text = this.#steps === 0 ? text : `${this.#text},${text}`
    this.#steps += 1
  }

  /** Whether it is time to gather. */
  get isLong(): boolean {
    return this.#text.length >= STRETCH_LENGTH
  }

  /** Makes one stretch of what was added since the last; gives it, or undefined where nothing was. */
  gather(): Stretch | undefined {
    if (this.#steps === 0) return undefined
    const stretch = { text: flat(this.#text), steps: this.#steps }
    this.#stretches.push(stretch)
    this.#text = ''
    this.#steps = 0
    return stretch
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
