import type { MemoryUse } from './memory-watch.ts'
import type { SoakOptions, SoakResult } from './soak.ts'
import type { Percentiles } from './verdict.ts'

/** What memory may grow by from the second minute of a process to its end: more is a leak. */
export const GROWTH_MAX_BYTES = 64 << 20

const SHOWN_MAX = 5

type Settings = Omit<SoakOptions, 'say'>

/** All that was not as promised, in sentences; none if all is well. */
export function violationsOf({ account, dropped, memory }: SoakResult): string[] {
  const { unaccountedEntries, ...lists } = account
  const violations = Object.entries(lists).flatMap(([name, list]) =>
    list.length === 0
      ? []
      : [`${list.length} ${LISTS[name as keyof typeof LISTS]}: ${list.slice(0, SHOWN_MAX).join(' | ')}`],
  )
  if (unaccountedEntries !== 0) violations.push(`${unaccountedEntries} stream entries are unaccounted for`)
  for (const [reason, count] of Object.entries(dropped))
    violations.push(`producers that were not killed dropped ${count} events: ${reason}`)
  for (const { name, grownBytes } of memory)
    if (grownBytes !== undefined && grownBytes > GROWTH_MAX_BYTES)
      violations.push(`${name} grew by ${mebibytes(grownBytes)}`)
  return violations
}

const LISTS = {
  missing: 'accepted runs are missing',
  wrong: 'runs are stored with something else than what ran',
  unknown: 'runs are stored that nobody ran',
  dead: 'dead letters',
  leftKeys: 'keys are left in Redis',
  complaints: 'complaints',
}

/** The report, for people. */
export function reportLines(settings: Settings, result: SoakResult): string[] {
  const { begun, accepted, unaccepted, latencyMs, memory, faults } = result
  const counts = new Map<string, number>()
  for (const { name } of faults) counts.set(name, (counts.get(name) ?? 0) + 1)
  const violations = violationsOf(result)
  const row = (name: string, text: string): string => `${name.padEnd(10)}${text}`
  return [
    row('soak', `${settings.minutes} min, seed ${settings.seed}, ${settings.runsPerSecond} runs/s`),
    row('faults', [...counts].map(([name, count]) => `${count} × ${name}`).join(', ')),
    row('runs', `${counted(begun)} begun, ${counted(accepted)} accepted by Redis`),
    row(
      '',
      `${counted(begun - accepted)} of killed producers were not: ${unaccepted.whole} stored whole all the same, ${unaccepted.timedOut} timed out, ${unaccepted.inPart} with steps missing, ${unaccepted.gone} gone`,
    ),
    row('latency', `from end to row: ${percentilesText(latencyMs.all)}`),
    row('', `while nothing was wrong: ${percentilesText(latencyMs.quiet)}`),
    row('memory', `${'most'.padStart(24)}${'grown since its 2nd minute'.padStart(30)}`),
    ...memory
      .toSorted((a, b) => b.lifeMs - a.lifeMs)
      .slice(0, 2 * SHOWN_MAX)
      .map((use) => row('', memoryText(use))),
    violations.length === 0
      ? row(
          'account',
          `every accepted run is stored once and whole; nothing grew by more than ${mebibytes(GROWTH_MAX_BYTES)}`,
        )
      : row('VIOLATED', violations.join('\n          ')),
  ]
}

/** The same as one document. */
export function resultJson(settings: Settings, result: SoakResult): Record<string, unknown> {
  const { account, unaccepted, latencyMs, memory, faults, ...counts } = result
  return {
    ok: violationsOf(result).length === 0,
    violations: violationsOf(result),
    settings: { ...settings, runsPerSecond: undefined, runs_per_second: settings.runsPerSecond },
    faults: faults.map(({ name, fromMs, toMs }) => ({ name, at: new Date(fromMs), took_ms: toMs - fromMs })),
    ...counts,
    unaccepted: {
      ...unaccepted,
      timedOut: undefined,
      inPart: undefined,
      timed_out: unaccepted.timedOut,
      in_part: unaccepted.inPart,
    },
    latency_ms: latencyMs,
    memory: memory.map(({ name, lifeMs, mostBytes, grownBytes }) => ({
      name,
      life_ms: Math.round(lifeMs),
      most_bytes: mostBytes,
      grown_bytes: grownBytes,
    })),
  }
}

const counted = (count: number): string => count.toLocaleString('en-US')
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

function memoryText({ name, mostBytes, grownBytes }: MemoryUse): string {
  const grown = grownBytes === undefined ? '(lived too short)' : mebibytes(grownBytes)
  return `${name.padEnd(16)}${mebibytes(mostBytes).padStart(18)}${grown.padStart(30)}`
}

const percentilesText = ({ p50, p95, p99, most }: Percentiles): string =>
  `p50 ${p50.toFixed(0)}, p95 ${p95.toFixed(0)}, p99 ${p99.toFixed(0)}, most ${most.toFixed(0)} ms`
