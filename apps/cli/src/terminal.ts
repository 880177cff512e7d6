import { once } from 'node:events'
import { styleText } from 'node:util'
import stringWidth from 'string-width'

/** How a text can look. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Where a command writes. Without a terminal there is no colour, no progress, and nothing is cut. */
export interface Terminal {
  /** Columns; Infinity where the output is no terminal. */
  width: number
  /** Writes to stdout; resolves when there is room for more. */
  out(text: string): Promise<void>
  /** Writes a line to stderr. */
  note(line: string): void
  paint(style: Style, text: string): string
  /** Whether stderr shows progress. */
  showsProgress: boolean
  /** Replaces the progress line; undefined removes it. Does nothing where stderr is no terminal. */
  progress(line: string | undefined): void
}

/** The terminal of this process. Colour follows NO_COLOR and FORCE_COLOR (https://no-color.org). */
export function processTerminal(columns: number | undefined): Terminal {
  const { stdout, stderr } = process
  let shown = false
  const clear = (): void => {
    if (shown) stderr.write('\r\x1b[2K')
    shown = false
  }
  return {
    width: columns ?? (stdout.isTTY ? stdout.columns || 80 : Number.POSITIVE_INFINITY),
    async out(text) {
      clear()
      if (!stdout.write(text)) await once(stdout, 'drain')
    },
    note(line) {
      clear()
      stderr.write(`${line}\n`)
    },
    paint: (style, text) => (text === '' ? '' : styleText(style, text, { stream: stdout })),
    showsProgress: stderr.isTTY === true,
    progress(line) {
      if (!stderr.isTTY) return
      clear()
      if (line === undefined) return
      stderr.write(fit(line, (stderr.columns || 80) - 1).trimEnd())
      shown = true
    },
  }
}

/** The text on one line, without what could steer a terminal: names and messages are whatever programs recorded. */
export function plain(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\p{Cc}\p{Bidi_C}]/gu, '\uFFFD')
}

/** The text in exactly `width` columns: filled up, or cut with an ellipsis. */
export function fit(text: string, width: number): string {
  if (width === Number.POSITIVE_INFINITY) return text
  const has = stringWidth(text)
  if (has <= width) return text + ' '.repeat(width - has)
  let kept = ''
  let columns = 0
  for (const { segment } of segmenter.segment(text)) {
    const next = columns + stringWidth(segment)
    if (next > width - 1) break
    kept += segment
    columns = next
  }
  return `${kept}…${' '.repeat(Math.max(0, width - columns - 1))}`
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** A column of a table. */
export interface Column<Row> {
  title: string
  text(row: Row): string
  style?(row: Row): Style | undefined
  right?: boolean
  /** Takes what room is left, and is cut to it; at least this many columns. */
  flexible?: number
  /** Left out where the terminal is too narrow; the highest first. */
  optional?: number
}

/** The table as lines, heading first. Fits the width: optional columns go first, then flexible ones shrink. */
export function tableLines<Row>(
  rows: readonly Row[],
  all: readonly Column<Row>[],
  { width, paint }: Pick<Terminal, 'width' | 'paint'>,
): string[] {
  const cells = new Map(all.map((column) => [column, rows.map((row) => plain(column.text(row)))]))
  const natural = (column: Column<Row>): number =>
    Math.max(stringWidth(column.title), ...(cells.get(column) as string[]).map((cell) => stringWidth(cell)))
  const least = (column: Column<Row>): number => Math.min(column.flexible ?? Infinity, natural(column))
  let columns = [...all]
  const needed = (): number => columns.reduce((sum, column) => sum + least(column) + 2, -2)
  while (needed() > width) {
    const rank = Math.max(...columns.map((column) => column.optional ?? 0))
    if (rank === 0) break
    columns = columns.filter((column) => column.optional !== rank)
  }
  let spare = width - needed()
  const widths = columns.map((column) => {
    const more = Math.max(0, Math.min(spare, natural(column) - least(column)))
    spare -= more
    return least(column) + more
  })
  const line = (texts: readonly string[], row?: Row): string =>
    columns
      .map((column, i) => {
        const cellWidth = widths[i] as number
        const text = texts[i] as string
        const isLast = i === columns.length - 1
        const fitted = column.right
          ? ' '.repeat(Math.max(0, cellWidth - stringWidth(text))) + text
          : fit(text, cellWidth)
        const style = row === undefined ? 'dim' : column.style?.(row)
        const shown = isLast ? fitted.trimEnd() : fitted
        return style === undefined ? shown : paint(style, shown)
      })
      .join('  ')
      .trimEnd()
  return [
    line(columns.map((column) => column.title)),
    ...rows.map((row, r) =>
      line(
        columns.map((column) => (cells.get(column) as string[])[r] as string),
        row,
      ),
    ),
  ]
}
