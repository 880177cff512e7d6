import type { JsonBytes } from '@stepwell/protocol'
import type { Slab } from './slab.ts'

/**
 * Some completed steps of a trace as they travel, commas between them: bytes in a slab, which others come to be in when they were taken; as a
 * text of its own only where they can still be asked for then.
 */
export class Stretch {
  readonly steps: number
  /** In bytes. */
  readonly length: number
  /** What of the trace comes after it, as long as both wait. */
  next: Stretch | undefined
  /** Whether they can be asked for. */
  isRemembered = false
  #slab: Slab | undefined
  readonly #from: number
  readonly #units: number
  #text = ''

  /** Those in the slab from here on; as a text of so many UTF-16 units. */
  constructor(slab: Slab, from: number, length: number, units: number, steps: number) {
    this.#slab = slab
    this.#from = from
    this.length = length
    this.#units = units
    this.steps = steps
    slab.stretches += 1
  }

  /** Whether it was not taken yet. */
  get waits(): boolean {
    return this.#slab !== undefined
  }

  get text(): string {
    if (this.#slab === undefined) return this.#text
    const encoding = this.#units === this.length ? 'latin1' : 'utf8'
    return this.#slab.memory.toString(encoding, this.#from, this.#from + this.length)
  }

  /** Writes it to where it is sent from, and leaves its slab; gives that if nothing else waits in it. Once. */
  moveTo(out: JsonBytes): Slab | undefined {
    const slab = this.#slab as Slab
    out.copy(slab.memory, this.#from, this.#from + this.length, this.#units)
    if (this.isRemembered) this.#text = this.text
    this.#slab = undefined
    slab.stretches -= 1
    return slab.stretches === 0 ? slab : undefined
  }
}
