import { type Figure, percentile, round } from './harness.ts'

/** What one run of one contender gave: numbers by metric. */
export type Sample<Metric extends string> = Record<Metric, number>

/**
 * Runs the contenders in turns, `rounds` times after one round that warms up and does not count; every other round in the
 * opposite order, so that what drifts in the machine meets all of them alike. Gives each contender's samples in the order of rounds.
 */
export async function inTurns<Name extends string, Metric extends string>(
  contenders: Record<Name, () => Promise<Sample<Metric>>>,
  rounds: number,
): Promise<Record<Name, Sample<Metric>[]>> {
  const names = Object.keys(contenders) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    Sample<Metric>[]
  >
  for (let round = 0; round <= rounds; round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      const sample = await contenders[name]()
      if (round > 0) samples[name].push(sample)
    }
  }
  return samples
}

/** The median of the rounds as a figure, with the lowest and the highest. */
export function figure(name: string, values: readonly number[], unit: string): Figure {
  return {
    name,
    value: round(percentile(values, 0.5)),
    unit,
    low: round(Math.min(...values)),
    high: round(Math.max(...values)),
  }
}

/** The ratio of two contenders, round by round: a figure of the unit `ratio`. */
export function ratio(name: string, of: readonly number[], to: readonly number[]): Figure {
  return figure(
    name,
    of.map((value, i) => value / (to[i] as number)),
    'ratio',
  )
}
