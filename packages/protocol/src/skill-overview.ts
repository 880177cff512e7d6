import { ByteReader, ByteWriter } from './bytes.ts'
import type { RunRollup } from './run-rollup.ts'

/** What all skills came to in one bucket, as bytes: each skill's name, how long what follows is, and its rollup. */
export function encodeOverview(skills: ReadonlyMap<string, RunRollup>): Uint8Array {
  const writer = new ByteWriter()
  for (const [skill, runs] of skills) {
    const own = new ByteWriter()
    runs.encode(own)
    writer.text(skill)
    writer.block(own.bytes())
  }
  return writer.bytes()
}

/**
 * Adds each skill's rollup to what `rollupOf` gives for it, and to `all` besides, where that is given. A skill for which it gives nothing is passed
 * over, which costs next to nothing. Throws RangeError where the bytes end too soon.
 */
export function addOverview(
  bytes: Uint8Array,
  rollupOf: (skill: string) => RunRollup | undefined,
  all?: RunRollup,
): void {
  const reader = new ByteReader(bytes)
  while (!reader.isAtEnd) {
    const rollup = rollupOf(reader.text())
    const end = reader.number() + reader.at
    rollup?.addEncoded(reader, all)
    reader.at = end
  }
}
