// `npx node bench/failure-groups.ts <file.tsv> [--json]`: how well failure groups match the true ones, and Drain beside; and what a pattern costs.
import { existsSync, readFileSync } from 'node:fs'
import { errorPattern, groupPatterns, patternId } from '@stepwell/protocol/failures'
import { drain } from './drain.ts'
import { describeMachine } from './harness.ts'

const USAGE = `usage: npx node bench/failure-groups.ts <file.tsv> [--json]

The file has a line of names, then a message a line, in columns separated by tabs: dataset (where it comes from), template_id (its true group
there), message, and is_error (1 or 0). Such are made of the structured logs of github.com/logpai/loghub; the project has none of its own.`

interface Line {
  system: string
  isError: boolean
  truth: string
  message: string
}

/** How well predicted groups match the true ones. */
interface Score {
  /**
   * Grouping accuracy (Zhu et al., "Tools and Benchmarks for Automated Log Parsing", ICSE-SEIP 2019): the share of messages whose
   * predicted group has exactly the messages of their true group. One message in the wrong group spoils it for all of both groups.
   */
  ga: number
  /**
   * F1 of groups, FGA (Jiang et al., "A Large-Scale Evaluation for Log Parsing Techniques", ISSTA 2024): the harmonic mean of the share
   * of predicted groups that are exactly a true one and the share of true groups that were predicted exactly. Rare groups count as much as frequent ones.
   */
  fga: number
  predicted: number
  true: number
}

const METHODS: Record<string, (messages: readonly string[]) => string[]> = {
  patterns: (messages) => messages.map(errorPattern),
  groups: (messages) => {
    const patterns = messages.map(errorPattern)
    const groupOf = new Map(
      groupPatterns(patterns).flatMap(({ pattern, members }) => members.map((member) => [member, pattern])),
    )
    return patterns.map((pattern) => groupOf.get(pattern) as string)
  },
  drain: (messages) => drain(messages),
}

const args = process.argv.slice(2)
const [path] = args.filter((arg) => !arg.startsWith('--'))
if (path === undefined || !existsSync(path)) {
  console.error(path === undefined ? USAGE : `There is no file '${path}'.\n\n${USAGE}`)
  process.exit(2)
}
const lines = readLines(readFileSync(path, 'utf8'))
const results = [
  { which: 'all lines', systems: scoreSystems(lines) },
  { which: 'error lines', systems: scoreSystems(lines.filter(({ isError }) => isError)) },
]
const cost = measureCost(lines.map(({ message }) => message))
if (args.includes('--json'))
  console.log(JSON.stringify({ machine: describeMachine(), results, cost }, null, 2))
else {
  for (const { which, systems } of results) printTable(which, systems)
  console.log(
    `${cost.patternUs.toFixed(2)} µs of CPU a message of ${cost.lengthMean.toFixed(0)} characters; with its id ${cost.withIdUs.toFixed(2)} µs`,
  )
}

function readLines(text: string): Line[] {
  const [head = '', ...rows] = text.trimEnd().split('\n')
  const names = head.split('\t')
  const columns = ['dataset', 'is_error', 'template_id', 'message'].map((name) => names.indexOf(name))
  if (columns.includes(-1)) {
    console.error(USAGE)
    process.exit(2)
  }
  return rows.map((row) => {
    const values = row.split('\t')
    const [system = '', isError = '', truth = '', message = ''] = columns.map(
      (column) => values[column] ?? '',
    )
    return { system, isError: isError === '1', truth, message }
  })
}

function scoreSystems(all: readonly Line[]): Map<string, Record<string, Score>> {
  const systems = Map.groupBy(all, ({ system }) => system)
  // As in one database: whatever all of them say.
  const together = all.map((line) => ({ ...line, truth: `${line.system} ${line.truth}` }))
  return new Map(
    [...systems, ['together', together] as const].map(([system, mine]) => {
      const messages = mine.map(({ message }) => message)
      const truth = mine.map((line) => line.truth)
      const scores = Object.entries(METHODS).map(([name, group]) => [name, scoreOf(group(messages), truth)])
      return [system, Object.fromEntries(scores)]
    }),
  )
}

function scoreOf(predicted: readonly string[], truth: readonly string[]): Score {
  const sizes = new Map<string, number>()
  for (const group of truth) sizes.set(group, (sizes.get(group) ?? 0) + 1)
  const groups = Map.groupBy(predicted.keys(), (i) => predicted[i] as string)
  let right = 0
  let messages = 0
  for (const members of groups.values()) {
    const [first = ''] = members.map((i) => truth[i])
    if (members.length !== sizes.get(first) || !members.every((i) => truth[i] === first)) continue
    right += 1
    messages += members.length
  }
  // The harmonic mean of right / predicted and right / true.
  const fga = (2 * right) / (groups.size + sizes.size)
  return { ga: messages / truth.length, fga, predicted: groups.size, true: sizes.size }
}

function printTable(which: string, systems: ReadonlyMap<string, Record<string, Score>>): void {
  const names = Object.keys(METHODS)
  console.log(
    `${which.padEnd(14)}${names.map((name) => `${name.padEnd(9)}GA    FGA  groups`.padEnd(34)).join('')}true`,
  )
  const of = (scores: Record<string, Score>, name: string): Score => scores[name] as Score
  for (const [system, scores] of systems) {
    const cells = names.map((name) => cell(of(scores, name)))
    console.log(`${system.padEnd(18)}${cells.join('')}${of(scores, 'drain').true}`)
  }
  const single = [...systems].flatMap(([system, scores]) => (system === 'together' ? [] : [scores]))
  const mean = (pick: (score: Score) => number, name: string): number =>
    single.reduce((sum, scores) => sum + pick(of(scores, name)), 0) / single.length
  const means = names.map((name) => cell({ ga: mean((s) => s.ga, name), fga: mean((s) => s.fga, name) }))
  console.log(`${'mean'.padEnd(18)}${means.join('').trimEnd()}\n`)
}

function cell({ ga, fga, predicted }: Partial<Score>): string {
  const numbers = [ga, fga].map((value) => value?.toFixed(3).padStart(9)).join('')
  return `${numbers}${String(predicted ?? '').padStart(8)}`.padEnd(34)
}

/** CPU time of a pattern: once warm, over messages of about 100 characters where there are such. */
function measureCost(messages: readonly string[]): {
  lengthMean: number
  patternUs: number
  withIdUs: number
} {
  const typical = messages.filter(({ length }) => length >= 80 && length <= 120)
  const some = typical.length > 0 ? typical : messages
  const rounds = Math.ceil(100_000 / some.length)
  const time = (work: (message: string) => string): number => {
    let length = 0
    const before = process.cpuUsage()
    for (let round = 0; round < rounds; round++) for (const message of some) length += work(message).length
    const { user, system } = process.cpuUsage(before)
    return length > 0 ? (user + system) / rounds / some.length : 0
  }
  const withId = (message: string): string => patternId(errorPattern(message))
  time(withId)
  return {
    lengthMean: some.reduce((sum, { length }) => sum + length, 0) / some.length,
    patternUs: time(errorPattern),
    withIdUs: time(withId),
  }
}
