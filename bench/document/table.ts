import type { Figure } from '../harness.ts'

/** A table in Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** Looks up figures by name, as people read numbers. */
export class Reader {
  readonly #figures: Map<string, Figure>

  constructor(figures: readonly Figure[]) {
    this.#figures = new Map(figures.map((figure) => [figure.name, figure]))
  }

  /** The value with its unit; '' if it was not measured. */
  with(name: string): string {
    const figure = this.#figures.get(name)
    return figure === undefined ? '' : `${readable(figure.value)} ${figure.unit}`
  }

  /** The bare value; '' if it was not measured. */
  of(name: string): string {
    const figure = this.#figures.get(name)
    return figure === undefined ? '' : readable(figure.value)
  }

  /** What follows a beginning in the names of figures, up to the next dot, each once, in their order. */
  partsAfter(beginning: string): string[] {
    const names = [...this.#figures.keys()].filter((name) => name.startsWith(beginning))
    return [...new Set(names.map((name) => name.slice(beginning.length).split('.')[0] as string))]
  }
}

/** `12345.6` as `12,300`: three digits that count. */
export const readable = (value: number): string =>
  value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
