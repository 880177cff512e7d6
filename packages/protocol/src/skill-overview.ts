import { ByteReader, ByteWriter } from './bytes.ts'
import type { RunRollup } from './run-rollup.ts'

/** What all skills came to in one bucket, as bytes: each skill's name, how long what follows is, and its rollup. */
export class OverviewWriter {
  readonly #writer = new ByteWriter()

  /** Adds a skill, each at most once. */
  add(skill: string, runs: RunRollup): void {
    const own = new ByteWriter()
    runs.encode(own)
    this.#writer.text(skill)
    this.#writer.block(own.bytes())
  }

  bytes(): Uint8Array {
    return this.#writer.bytes()
  }
}

/**
 * Reads them. `rollupOf` gives for each skill what it is to be added to; nothing: it is passed over, which costs next to nothing.
 * Throws RangeError where the bytes end too soon.
 */
export function addOverview(bytes: Uint8Array, rollupsOf: (skill: string) => readonly RunRollup[]): void {
  const reader = new ByteReader(bytes)
  while (!reader.isAtEnd) {
    const rollups = rollupsOf(reader.text())
    const end = reader.number() + reader.at
    const begin = reader.at
    for (const rollup of rollups) {
      reader.at = begin
      rollup.addEncoded(reader)
    }
    reader.at = end
  }
}
