import {
  explanationJson,
  type FailureFinding,
  type FailureReport,
  type NumberFinding,
  type RunsLookedAt,
} from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { counted, durationText } from '../format.ts'
import { plain, tableLines } from '../terminal.ts'

/** Options of `explain`, as they are parsed. */
export interface ExplainOptions {
  skill?: string
  since?: Date
  until?: Date
  baselineSince?: Date
  baselineUntil?: Date
  sample: number
  limit: number
  json?: boolean
}

/** Shows what sets failing runs apart from good ones. */
export async function explain(context: CommandContext, options: ExplainOptions): Promise<void> {
  const { baselineSince, baselineUntil, json, ...asked } = options
  const isOther = baselineSince !== undefined || baselineUntil !== undefined
  const baseline = isOther
    ? { baseline: { since: baselineSince ?? new Date(0), until: baselineUntil ?? asked.since ?? new Date() } }
    : {}
  const report = await context.connections.query().explainFailures({ ...asked, ...baseline })
  if (json) return writeJson(context, explanationJson(report))
  await writeLines(context, [headLine(report), ...findingLines(context, report)])
  if (report.findingsTruncated)
    context.terminal.note(
      `only the ${counted(report.findings.length, 'finding')} of most weight: --limit shows more`,
    )
}

function headLine({ failing, good, testCount }: FailureReport): string {
  return `${lookedText(failing, 'failing run')} against ${lookedText(good, 'good run')}; ${counted(testCount, 'thing')} looked at`
}

function lookedText({ looked, of, ofTruncated }: RunsLookedAt, noun: string): string {
  if (looked === of) return counted(of, noun)
  return `${looked.toLocaleString('en-US')} of ${ofTruncated ? 'more than ' : ''}${counted(of, noun)}`
}

function findingLines({ terminal }: CommandContext, { findings, failing, good }: FailureReport): string[] {
  if (failing.looked === 0) return ['nothing failed']
  if (good.looked === 0) return ['no run went well: there is nothing to compare with']
  if (findings.length === 0) return ['nothing sets the failing runs apart']
  return [
    '',
    ...tableLines<FailureFinding | NumberFinding>(
      findings,
      [
        { title: 'WHAT', text: whatText, flexible: 24 },
        { title: 'FAILING', text: (one) => sideText(one, 'failing'), right: true },
        { title: 'GOOD', text: (one) => sideText(one, 'good'), right: true },
        { title: 'HOW MUCH', text: strengthText, right: true, style: () => 'red' },
        { title: 'P', text: ({ pValue }) => probabilityText(pValue), right: true, optional: 1 },
      ],
      terminal,
    ),
  ]
}

function whatText(finding: FailureFinding | NumberFinding): string {
  if (finding.kind === 'skill') return `skill ${finding.skillName}`
  if (finding.kind === 'step') return `has step ${finding.stepName}`
  if (finding.kind === 'step_duration') return `step ${finding.stepName} takes ${directionOf(finding)}`
  if (finding.kind === 'metadata_number') return `${finding.path.join('.')} is ${directionOf(finding)}`
  const how = finding.kind === 'metadata' ? '=' : 'has'
  return `${finding.path.join('.')} ${how} ${JSON.stringify(finding.value)}`
}

function directionOf({ kind, superiority }: NumberFinding): string {
  const isMore = superiority > 0.5
  if (kind === 'step_duration') return isMore ? 'longer' : 'less long'
  return isMore ? 'greater' : 'smaller'
}

function sideText(finding: FailureFinding | NumberFinding, side: 'failing' | 'good'): string {
  if ('lift' in finding) {
    const { count, of } = finding[side]
    return `${count} of ${of} (${percent(count / of)})`
  }
  const { median } = finding[side]
  return finding.kind === 'step_duration' ? durationText(median) : plain(String(median))
}

/** How many times as common; of numbers how often one of a failing run is the greater, or the smaller. */
function strengthText(finding: FailureFinding | NumberFinding): string {
  if (!('lift' in finding))
    return `in ${percent(Math.max(finding.superiority, 1 - finding.superiority))} of pairs`
  return Number.isFinite(finding.lift) ? `${finding.lift.toPrecision(2)} ×` : 'only there'
}

const percent = (share: number): string => `${Math.round(share * 100)} %`

const probabilityText = (p: number): string => (p < 0.001 ? p.toExponential(0) : p.toFixed(3))
