// `npm run bench -- [names] [--json] [--scale 0.1] [--rounds 5] [--traces 1000000]` runs the benchmarks named, or all.
// With --json one document on stdout. With --write what ran is kept in figures.json, and docs/BENCHMARKS.md is made anew from that.
// `npm run bench -- --check` runs small ones and fails where ratios are worse than the committed ones; with --write it commits to these.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { CHECK_RUNS, checkedFigures, compareWithCommitted } from './check.ts'
import { renderDocument } from './document.ts'
import { readFigures, writeFigures } from './figures-file.ts'
import type { Figure } from './harness.ts'
import { BENCHMARKS, type RunRecord, runBenchmark } from './run.ts'

const USAGE = `usage: npm run bench -- [${Object.keys(BENCHMARKS).join('|')}] [--json] [--write] [--scale 0.1] [--rounds 5] [--traces 1000000]
       npm run bench -- --check [--write]`
const DOCUMENT = new URL('../docs/BENCHMARKS.md', import.meta.url)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    scale: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    traces: { type: 'string' },
  },
})
const scale = numberFrom('--scale', values.scale, 0.001, 100)
const rounds = Math.round(numberFrom('--rounds', values.rounds, 1, 1_000))
const traces =
  values.traces === undefined ? undefined : Math.round(numberFrom('--traces', values.traces, 1_000, 1e9))
const unknown = positionals.find((name) => !(name in BENCHMARKS))
if (unknown !== undefined) refuse(`There is no benchmark '${unknown}'.`)

if (values.check) await check()
else await run(positionals.length > 0 ? positionals : Object.keys(BENCHMARKS))

async function run(names: readonly string[]): Promise<void> {
  const records: Record<string, RunRecord> = {}
  for (const name of names) {
    const record = await runBenchmark(name, { scale, rounds, traces })
    records[traces === undefined ? name : `${name}@${traces}`] = record
    if (!values.json) print(record)
  }
  if (values.json) process.stdout.write(`${JSON.stringify(records, null, 2)}\n`)
  if (values.write) keep({ runs: records })
}

async function check(): Promise<void> {
  const figures: Figure[] = []
  for (const { name, ...options } of CHECK_RUNS)
    figures.push(...checkedFigures((await runBenchmark(name, { traces: undefined, ...options })).figures))
  if (values.write) {
    keep({ check: figures })
    return
  }
  const { lines, worse } = compareWithCommitted(figures, readFigures().check)
  console.log(lines.join('\n'))
  if (worse > 0) process.exitCode = 1
}

function keep({ runs = {}, check }: { runs?: Record<string, RunRecord>; check?: Figure[] }): void {
  const file = readFigures()
  Object.assign(file.runs, runs)
  file.check = check ?? file.check
  writeFigures(file)
  writeFileSync(DOCUMENT, renderDocument(file))
}

function print({ machine, settings, figures, notes }: RunRecord): void {
  console.log(`# ${JSON.stringify({ ...machine, ...settings })}`)
  for (const { name, value, unit, low, high } of figures) {
    const spread = low === undefined || high === undefined ? '' : `  ${low} … ${high}`
    console.log(`${name.padEnd(48)}${String(value).padStart(10)} ${unit.padEnd(12)}${spread}`)
  }
  for (const note of notes) console.log(`# ${note}`)
}

function numberFrom(option: string, text: string, min: number, max: number): number {
  const number = Number(text)
  if (!(number >= min && number <= max)) refuse(`${option} takes a number from ${min} to ${max}`)
  return number
}

function refuse(reason: string): never {
  console.error(`${reason}\n${USAGE}`)
  process.exit(2)
}
