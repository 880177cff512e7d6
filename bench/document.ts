import { MORE_SECTIONS } from './document/more-sections.ts'
import { SECTIONS, type Section } from './document/sections.ts'
import { Reader, readable, table } from './document/table.ts'
import type { FiguresFile } from './figures-file.ts'
import type { RunRecord } from './run.ts'
import { judge, TARGETS } from './targets.ts'

const HEAD = `# Benchmarks

Made by \`npm run bench -- --write\` from \`bench/figures.json\`; do not edit. \`npm run bench\` runs all, \`npm run bench -- ingest\` one; \`--json\`
gives one document, \`--scale 0.1\` a quick look, \`--traces N\` says how many traces \`query\` and \`growth\` build.

What is compared runs in turns in the same run, after a round that warms up: medians of the rounds, ratios round by round. CPU is all that a process
used, in user and kernel. Everything shares one machine; times of different machines, or runs, do not compare, ratios do.
\`npm run bench -- --check\` measures the ratios again, small, and fails where they are worse than the committed ones by more than their margin.`

/** docs/BENCHMARKS.md, made of the committed figures alone. */
export function renderDocument({ runs }: FiguresFile): string {
  const parts = [...SECTIONS, ...MORE_SECTIONS].flatMap((section) =>
    Object.entries(runs)
      .filter(([key]) => key.replace(/@.*/, '') === section.of)
      .map(([key, run]) => renderSection(section, key, run)),
  )
  return `${[HEAD, targetTable(runs), machines(runs), ...parts].join('\n\n')}\n`
}

function renderSection({ title, text, tables }: Section, key: string, run: RunRecord): string {
  const traces = /@(\d+)$/.exec(key)?.[1]
  const heading = traces === undefined ? title : `${title}: ${Number(traces).toLocaleString('en-US')} traces`
  const { scale, rounds } = run.settings
  const how = `\`npm run bench -- ${key.replace(/@(\d+)$/, ' --traces $1')}\`, scale ${scale}, ${rounds} rounds, ${run.at.slice(0, 10)}.`
  return [`## ${heading}`, `${text} ${how}`, ...tables(new Reader(run.figures), run)].join('\n\n')
}

function targetTable(runs: FiguresFile['runs']): string {
  const figures = Object.values(runs).flatMap((run) => run.figures)
  const rows = TARGETS.flatMap((target) => {
    const judged = judge(target, figures)
    if (judged === undefined) return []
    const seen = `${readable(judged.seen)} ${target.unit}`.trim()
    return [[target.what, target.target, seen, judged.isMet ? 'met' : '**not met**']]
  })
  return `## Targets\n\n${table(['', 'target', 'seen', ''], rows)}`
}

/** The machines and settings of the runs, each once. */
function machines(runs: FiguresFile['runs']): string {
  const seen = new Map<string, string[]>()
  for (const [key, { machine, settings }] of Object.entries(runs)) {
    const { scale, rounds, traces, ...servers } = settings
    const text = Object.entries({ ...machine, ...servers })
      .map(([name, value]) => `${name.replaceAll('_', ' ')} ${value}`)
      .join(', ')
    seen.set(text, [...(seen.get(text) ?? []), key])
  }
  const lines = [...seen].map(([text, keys]) =>
    seen.size === 1 ? `${text}.` : `- ${keys.join(', ')}: ${text}.`,
  )
  return `## Machine and settings\n\n${lines.join('\n')}`
}
