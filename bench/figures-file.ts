import { readFileSync, writeFileSync } from 'node:fs'
import type { Figure } from './harness.ts'
import type { RunRecord } from './run.ts'

/** The committed figures: of each benchmark its latest published run, and those that a check is held against. */
export interface FiguresFile {
  /** By the benchmark's name; for one with `--traces`, `<name>@<traces>`. */
  runs: Record<string, RunRecord>
  /** Machine-independent figures of the small runs of a check. */
  check: Figure[]
}

const FILE = new URL('./figures.json', import.meta.url)

/** Reads them. */
export const readFigures = (): FiguresFile => JSON.parse(readFileSync(FILE, 'utf8'))

/** Writes them, a figure a line: a change of one number is a change of one line. */
export function writeFigures(file: FiguresFile): void {
  const text = JSON.stringify(file, null, 1).replace(
    /\{\s*("name":[^{}]*?)\s*\}/g,
    (_, members: string) => `{ ${members.replace(/\s*\n\s*/g, ' ')} }`,
  )
  writeFileSync(FILE, `${text}\n`)
}
