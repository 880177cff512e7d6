/** Whole minutes since 1970: the first, and the one after the last. */
export type MinuteRange = readonly [from: number, to: number]

/** The whole minute since 1970 that a time lies in. */
export const minuteOf = (timeMs: number): number => Math.floor(timeMs / 60_000)

/** The minutes that lie in any of the ranges: sorted, disjoint, none touching the next. */
export function unionOf(ranges: readonly MinuteRange[]): MinuteRange[] {
  const sorted = ranges.filter(([from, to]) => from < to).sort(([a], [b]) => a - b)
  const union: [number, number][] = []
  for (const [from, to] of sorted) {
    const last = union.at(-1)
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to)
    else union.push([from, to])
  }
  return union
}

/** What of `ranges` lies in none of `taken`. Both as `unionOf` gives them. */
export function without(ranges: readonly MinuteRange[], taken: readonly MinuteRange[]): MinuteRange[] {
  const left: MinuteRange[] = []
  let next = 0
  for (const [from, to] of ranges) {
    let at = from
    while (next < taken.length && (taken[next] as MinuteRange)[1] <= from) next += 1
    for (let i = next; i < taken.length && (taken[i] as MinuteRange)[0] < to; i++) {
      const [begin, end] = taken[i] as MinuteRange
      if (begin > at) left.push([at, begin])
      at = Math.max(at, end)
    }
    if (at < to) left.push([at, to])
  }
  return left
}

/** What of `ranges` lies from one minute to another. */
export function clipped(ranges: readonly MinuteRange[], from: number, to: number): MinuteRange[] {
  return ranges
    .map(([begin, end]): MinuteRange => [Math.max(begin, from), Math.min(end, to)])
    .filter(([begin, end]) => begin < end)
}

/** The whole hours, or days, that any of the minutes lie in: `width` minutes each. */
export function widened(ranges: readonly MinuteRange[], width: number): MinuteRange[] {
  return unionOf(
    ranges.map(([from, to]) => [Math.floor(from / width) * width, Math.ceil(to / width) * width]),
  )
}

/** The whole hours, or days, that lie in the ranges: `width` minutes each. */
export function wholeOf(ranges: readonly MinuteRange[], width: number): MinuteRange[] {
  return ranges
    .map(([from, to]): MinuteRange => [Math.ceil(from / width) * width, Math.floor(to / width) * width])
    .filter(([from, to]) => from < to)
}

/** Reads an int4multirange as Postgres prints it: `{[1,3),[5,6)}`. */
export function parseRanges(text: string): MinuteRange[] {
  return [...text.matchAll(/\[(-?\d+),(-?\d+)\)/g)].map(([, from, to]) => [Number(from), Number(to)])
}

/** Writes one. */
export const rangesText = (ranges: readonly MinuteRange[]): string =>
  `{${ranges.map(([from, to]) => `[${from},${to})`).join()}}`
