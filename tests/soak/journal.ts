import { readFileSync } from 'node:fs'
import type { ExpectedRun } from '../faults/load.ts'

/** What a producer wrote down of its runs. */
export interface Journal {
  begun: Map<string, ExpectedRun>
  /** Ended, and with Redis. */
  accepted: Set<string>
}

/** The line of a run that begins. */
export const begunLine = (traceId: string, { status, steps, errorMessage }: ExpectedRun): string =>
  `b ${JSON.stringify([traceId, status, steps, errorMessage])}\n`

/** The line of a run that is accepted. */
export const acceptedLine = (traceId: string): string => `a ${traceId}\n`

/** Reads a journal. The last line may be cut off: its writer may have been killed. */
export function readJournal(file: string, into: Journal): void {
  const lines = readFileSync(file, 'utf8').split('\n')
  lines.pop()
  for (const line of lines) {
    if (line.startsWith('a ')) into.accepted.add(line.slice(2))
    else {
      const [traceId, status, steps, errorMessage] = JSON.parse(line.slice(2))
      into.begun.set(traceId, { status, steps, errorMessage })
    }
  }
}
