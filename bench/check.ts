import type { Figure } from './harness.ts'
import type { RunOptions } from './run.ts'

/** What a check runs: small, so that it fits into a minute. */
export const CHECK_RUNS: readonly ({ name: string } & Omit<RunOptions, 'traces'>)[] = [
  { name: 'client', scale: 0.1, rounds: 5 },
  { name: 'ingest', scale: 0.1, rounds: 5 },
]

/**
 * What is held against the committed figures: by the beginning of the name, which direction is worse, and how much worse it may be. Ratios of CPU
 * hold better than those of speed; bytes hardly move. The margins are about twice what runs on a busy machine differ by.
 */
const RULES: readonly { figures: RegExp; worse: 'more' | 'less'; margin: number }[] = [
  { figures: /^client\..*\.to_otlp_json$/, worse: 'more', margin: 0.4 },
  // What it is held against takes a microsecond: one of three runs was off by half.
  { figures: /^client\..*\.to_stringify$/, worse: 'more', margin: 0.6 },
  { figures: /^client\..*\.stepwell\.allocated$/, worse: 'more', margin: 0.1 },
  { figures: /^ingest\.short\.cpu_to_floor_upsert$/, worse: 'more', margin: 0.3 },
  { figures: /^ingest\.agent\.cpu_to_short$/, worse: 'more', margin: 0.3 },
  { figures: /^ingest\.long\.cpu_to_short$/, worse: 'more', margin: 0.3 },
  { figures: /^ingest\.short\.of_floor_upsert$/, worse: 'less', margin: 0.4 },
  { figures: /^ingest\.long\.of_short$/, worse: 'less', margin: 0.4 },
  { figures: /^ingest\.short\.stored$/, worse: 'more', margin: 0.05 },
]

/** Those of the figures that are checked. */
export const checkedFigures = (figures: readonly Figure[]): Figure[] =>
  figures.filter(({ name }) => RULES.some((rule) => rule.figures.test(name)))

/** Compares; `worse` counts those beyond their margin, and those that are committed and were not measured. */
export function compareWithCommitted(
  measured: readonly Figure[],
  committed: readonly Figure[],
): { lines: string[]; worse: number } {
  let worse = 0
  let better = 0
  const lines = committed.map(({ name, value: before, unit }) => {
    const now = measured.find((figure) => figure.name === name)?.value
    const rule = RULES.find(({ figures }) => figures.test(name))
    if (now === undefined || rule === undefined) {
      worse += 1
      return `✗ ${name.padEnd(44)} was not measured`
    }
    const change = now / before - 1
    const loss = rule.worse === 'more' ? change : -change
    const isWorse = loss > rule.margin
    if (isWorse) worse += 1
    if (-loss > rule.margin) better += 1
    const limit = `${rule.worse === 'more' ? '+' : '−'}${Math.round(rule.margin * 100)} %`
    const by = `${change < 0 ? '−' : '+'}${Math.abs(change * 100).toFixed(0)} %`
    return `${isWorse ? '✗' : '✓'} ${name.padEnd(44)}${String(now).padStart(8)} ${unit.padEnd(12)} committed ${before}: ${by}, at most ${limit}`
  })
  if (better > 0)
    lines.push(`${better} are better by more than their margin: --check --write commits to them`)
  return { lines, worse }
}
