import { Rollup } from './rollup.ts'
import { RollupTextReader, RollupTextWriter } from './rollup-text.ts'

/** Minutes of a part of an hour. */
export const PART_MINUTES = 15
/** Runs of the first part from which on the hour is kept in parts besides: to read so many one by one takes longer than the rest of an answer. */
const MANY = 50

/**
 * What the runs of a skill in an hour came to; where there are many in its first part, also part by part, so that who asks for a piece of the hour reads few
 * runs one by one. The minutes of runs must come in order.
 */
export class HourRollup {
  readonly #hour: number
  readonly #parts: { index: number; rollup: Rollup }[] = []
  #isApart: boolean | undefined

  /** Of the hour that begins with this minute since 1970. */
  constructor(hour: number) {
    this.#hour = hour
  }

  /** What a run that started in this minute is to be added to. */
  at(minute: number): Rollup {
    const index = Math.floor((minute - this.#hour) / PART_MINUTES)
    const last = this.#parts.at(-1)
    if (last !== undefined && last.index !== index) this.#isApart ??= last.rollup.runs.count >= MANY
    if (last !== undefined && (last.index === index || this.#isApart === false)) return last.rollup
    const rollup = new Rollup()
    this.#parts.push({ index, rollup })
    return rollup
  }

  /** The whole hour. */
  whole(): Rollup {
    const [first, ...others] = this.#parts.map(({ rollup }) => rollup)
    if (first !== undefined && others.length === 0) return first
    const whole = new Rollup()
    for (const rollup of [...(first === undefined ? [] : [first]), ...others]) whole.merge(rollup)
    return whole
  }

  /** Its parts as text; null where it is not kept in parts. */
  encodeParts(): string | null {
    if (this.#parts.length < 2) return null
    const [writer, own] = [new RollupTextWriter(), new RollupTextWriter()]
    for (const { index, rollup } of this.#parts) {
      rollup.runs.encode(own)
      rollup.writeSteps(own)
      writer.number(index)
      writer.take(own)
    }
    return writer.toString()
  }
}

/** Adds parts that `encodeParts` gave to what `targetOf` gives for each, by its number from 0 on; undefined: passed over. Parts in which nothing ran are not there. */
export function addParts(parts: string, targetOf: (index: number) => Rollup | undefined): void {
  const reader = new RollupTextReader(parts)
  while (!reader.isAtEnd) {
    const target = targetOf(reader.number())
    const end = reader.number() + reader.at
    target?.runs.addEncoded(reader)
    target?.addSteps(reader)
    reader.at = end
  }
}
