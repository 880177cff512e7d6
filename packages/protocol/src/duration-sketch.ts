import type { ByteWriter } from './bytes.ts'
import type { RollupSource, RollupTextWriter } from './rollup-text.ts'

/** Each bin ends at this many times where it begins. */
const GAMMA = 1.02
const LN_GAMMA = Math.log(GAMMA)
/** Milliseconds up to which a duration counts as none. A microsecond is the least that is recorded. */
const NONE_MS = 1e-6

/**
 * How far a quantile of a sketch may be from the exact one, relative to that: (γ − 1) / (γ + 1) of the size of its bins, 0.99 %.
 */
export const SKETCH_RELATIVE_ERROR = 0.01

/** The bin that a duration belongs to. */
const indexOf = (ms: number): number => Math.ceil(Math.log(ms) / LN_GAMMA)

/**
 * Counts of durations in bins that grow with what is in them, so that any quantile is told to within 1 % of its value, whatever the
 * durations are like; sketches of parts merge into the very sketch of the whole, in any order. A DDSketch without a limit on its bins
 * (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019,
 * https://www.vldb.org/pvldb/vol12/p2195-masson.pdf): a nanosecond and a century are 2,500 bins apart.
 */
export class DurationSketch {
  /** Durations of nothing. */
  #none = 0
  #count = 0
  /** `#bins[0]` is the bin of this index. */
  #low = 0
  #bins: number[] = []

  /** How many durations it has. */
  get count(): number {
    return this.#count
  }

  /** Adds a duration of so many milliseconds, 0 or more. */
  add(ms: number): void {
    this.#count += 1
    if (ms <= NONE_MS) {
      this.#none += 1
      return
    }
    const index = indexOf(ms)
    this.#reach(index, index)
    const at = index - this.#low
    this.#bins[at] = (this.#bins[at] as number) + 1
  }

  /** Takes a duration out again that was added to it, or to one that was merged into it. */
  remove(ms: number): void {
    this.#count -= 1
    if (ms <= NONE_MS) this.#none -= 1
    else {
      const at = indexOf(ms) - this.#low
      this.#bins[at] = (this.#bins[at] as number) - 1
    }
  }

  /** Adds what the other has. */
  merge(other: DurationSketch): void {
    this.#count += other.#count
    this.#none += other.#none
    const bins = other.#bins
    const { first, last } = other.#filled()
    if (last < 0) return
    this.#reach(other.#low + first, other.#low + last)
    const shift = other.#low - this.#low
    for (let i = first; i <= last; i++)
      this.#bins[i + shift] = (this.#bins[i + shift] as number) + (bins[i] as number)
  }

  /**
   * Milliseconds that `share` (0 to 1) of the durations take at most: of the duration at that place of the sorted list (nearest
   * rank), within SKETCH_RELATIVE_ERROR. Undefined where there is none.
   */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    const rank = Math.max(1, Math.ceil(share * this.#count))
    let seen = this.#none
    if (seen >= rank) return 0
    let at = -1
    while (seen < rank && at < this.#bins.length) seen += this.#bins[++at] ?? 0
    return (2 * GAMMA ** (this.#low + at)) / (GAMMA + 1)
  }

  /** Writes it: about two bytes, or a character, a bin that has something. Equal sketches give the same. */
  encode(writer: ByteWriter | RollupTextWriter): void {
    const { first, last, count } = this.#filled()
    writer.number(this.#none)
    writer.number(count)
    if (count === 0) return
    const index = this.#low + first
    writer.number(index < 0 ? -2 * index - 1 : 2 * index)
    writer.number(last - first)
    writer.bins(this.#bins, first, last)
  }

  /** Adds what `encode` wrote. */
  addEncoded(reader: RollupSource): void {
    const none = reader.number()
    const filled = reader.number()
    let count = none
    if (filled > 0) {
      const sign = reader.number()
      const first = sign % 2 === 1 ? -(sign + 1) / 2 : sign / 2
      const last = first + reader.number()
      const bins = this.#reach(first, last)
      count += reader.addBins(filled, bins, first - this.#low)
    }
    this.#none += none
    this.#count += count
  }

  /** The first and the last bin that have something, and how many do; without any the last is -1. */
  #filled(): { first: number; last: number; count: number } {
    const bins = this.#bins
    let [first, last, count] = [0, -1, 0]
    for (let at = 0; at < bins.length; at++) {
      if (bins[at] === 0) continue
      if (count === 0) first = at
      last = at
      count += 1
    }
    return { first, last, count }
  }

  /** Makes room for bins from one index to another; gives the bins. */
  #reach(first: number, last: number): number[] {
    const { length } = this.#bins
    if (length > 0 && first >= this.#low && last < this.#low + length) return this.#bins
    // More on the side where it lacks: durations of one thing lie near one another, and each time costs a copy.
    const more = Math.max(MORE, length >> 1)
    const low = length === 0 ? first - more : first < this.#low ? first - more : this.#low
    const end = this.#low + length
    const high = length === 0 || last >= end ? last + more : end - 1
    const bins = new Array<number>(high - low + 1).fill(0)
    const shift = this.#low - low
    for (let i = 0; i < length; i++) bins[i + shift] = this.#bins[i] as number
    this.#low = low
    this.#bins = bins
    return bins
  }
}

const MORE = 16
