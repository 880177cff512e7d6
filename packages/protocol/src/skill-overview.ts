import { ByteReader } from './bytes.ts'
import { RollupTextReader, RollupTextWriter } from './rollup-text.ts'
import { RunRollup } from './run-rollup.ts'

/** What all skills came to in one bucket, as text: each skill's name, how long what follows is, and its rollup. */
export function encodeOverview(skills: ReadonlyMap<string, RunRollup>): string {
  const [writer, own] = [new RollupTextWriter(), new RollupTextWriter()]
  for (const [skill, runs] of skills) {
    runs.encode(own)
    writer.text(skill)
    writer.take(own)
  }
  return writer.toString()
}

/**
 * Adds each skill's rollup to what `rollupOf` gives for it, and to `all` besides, where that is given. A skill for which it gives nothing is passed
 * over, which costs next to nothing. Takes the bytes too that overviews were before. Throws RangeError where it ends too soon.
 */
export function addOverview(
  overview: string | Uint8Array,
  rollupOf: (skill: string) => RunRollup | undefined,
  all?: RunRollup,
): void {
  const reader = typeof overview === 'string' ? new RollupTextReader(overview) : new ByteReader(overview)
  while (!reader.isAtEnd) {
    const rollup = rollupOf(reader.text())
    const length = reader.number()
    const { at } = reader
    rollup?.addEncoded(reader)
    reader.at = at
    if (rollup !== undefined) all?.addEncoded(reader)
    reader.at = at + length
  }
}

/** The sum of all skills of a bucket as text, without their names. */
export function encodeTotal(skills: ReadonlyMap<string, RunRollup>): string {
  const total = new RunRollup()
  for (const runs of skills.values()) total.merge(runs)
  const writer = new RollupTextWriter()
  total.encode(writer)
  return writer.toString()
}

/** Adds what `encodeTotal` gave. */
export function addTotal(total: string, to: RunRollup): void {
  to.addEncoded(new RollupTextReader(total))
}
