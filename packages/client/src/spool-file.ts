import { readFileSync, truncateSync } from 'node:fs'
import type { OutgoingFrame } from './sink.ts'

const HEADER = '{"stepwell_spool":1}'

/** The text of a file of frames: a header, then a line for each, with its identity. */
export interface SpoolText {
  text: string
  /** What is in it, in that order. */
  frames: OutgoingFrame[]
  /** What there was no room for. */
  rest: OutgoingFrame[]
}

/** Writes as many frames as fit. */
export function encodeFrames(frames: readonly OutgoingFrame[], maxBytes: number): SpoolText {
  const file: SpoolText = { text: `${HEADER}\n`, frames: [], rest: [] }
  let size = file.text.length
  for (const frame of frames) {
    // Signs of life say nothing later.
    if (frame.events === 0) continue
    const line = `${JSON.stringify(frame)}\n`
    const bytes = Buffer.byteLength(line)
    if (size + bytes > maxBytes) file.rest.push(frame)
    else {
      file.text += line
      file.frames.push(frame)
      size += bytes
    }
  }
  return file
}

/** Cuts a file that could not be written to its end to the lines that are whole; gives how many frames they are. Throws what the disk does. */
export function keepWholeLines(path: string): number {
  const bytes = readFileSync(path)
  const end = bytes.lastIndexOf('\n') + 1
  truncateSync(path, end)
  const lines = bytes.toString('utf8', 0, end).split('\n').length - 1
  return Math.max(0, lines - 1)
}

/** What can be read of a file. Throws what the disk does. */
export function readFrames(path: string): { frames: OutgoingFrame[]; isDamaged: boolean } {
  const [header, ...lines] = readFileSync(path, 'utf8').split('\n')
  const frames: OutgoingFrame[] = []
  // A whole file ends with a line feed.
  let isDamaged = header !== HEADER || lines.pop() !== ''
  for (const line of header === HEADER ? lines : []) {
    const frame = frameOf(line)
    if (frame === undefined) isDamaged = true
    else frames.push(frame)
  }
  return { frames, isDamaged }
}

function frameOf(line: string): OutgoingFrame | undefined {
  try {
    const frame = JSON.parse(line) as OutgoingFrame
    const deltas = JSON.parse(frame.deltas) as { t: unknown }[]
    const isWhole =
      typeof frame.producer === 'string' &&
      Number.isSafeInteger(frame.number) &&
      deltas.length === frame.deltaCount &&
      deltas.every(({ t }) => typeof t === 'string')
    return isWhole ? frame : undefined
  } catch {
    return undefined
  }
}
