import { type ComparedStep, compareTraces, comparisonJson, type TraceComparison } from '@stepwell/query'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { counted, durationText, statusStyle } from '../format.ts'
import { plain, type Style, tableLines } from '../terminal.ts'
import { findTrace } from './show-trace.ts'

/** Shows what differs between two traces, each by its id or execution id: steps side by side, metadata, the first divergence. */
export async function compare(
  context: CommandContext,
  first: string,
  second: string,
  options: { all?: boolean; limit: number; json?: boolean },
): Promise<void> {
  const [a, b] = [await findTrace(context, first), await findTrace(context, second)]
  const comparison = compareTraces(a, b, options.limit)
  if (options.json) return writeJson(context, comparisonJson(comparison))
  await writeLines(context, [
    ...headLines(context, comparison),
    ...metadataLines(context, comparison),
    ...stepLines(context, comparison, options.all ?? false),
  ])
}

function headLines(
  { terminal }: CommandContext,
  { a, b, firstDivergence, ...rest }: TraceComparison,
): string[] {
  const head = tableLines(
    [
      { side: 'a', ...a },
      { side: 'b', ...b },
    ],
    [
      { title: '', text: ({ side }) => side },
      { title: 'TRACE', text: ({ traceId }) => traceId },
      { title: 'STATUS', text: ({ status }) => status, style: ({ status }) => statusStyle(status) },
      { title: 'TOOK', text: ({ totalDurationMs }) => durationText(totalDurationMs), right: true },
      { title: 'STEPS', text: ({ stepCount }) => String(stepCount), right: true },
      { title: 'SKILL', text: ({ skillName }) => skillName, flexible: 10, optional: 1 },
    ],
    terminal,
  )
  const { sameCount, statusCount, missingCount, addedCount } = rest
  const counts = `${counted(sameCount, 'step')} alike, ${statusCount} ended otherwise, ${missingCount} missing in b, ${addedCount} only in b`
  return [...head, '', counts, ...(firstDivergence === undefined ? [] : [divergenceText(firstDivergence)])]
}

function divergenceText(step: ComparedStep): string {
  const name = `${plain(step.path.join(' › '))}${step.occurrence > 1 ? ` (${step.occurrence})` : ''}`
  const what = {
    same: 'is the same',
    missing: 'is missing in b',
    added: 'is only in b',
    status: `is ${step.a?.status} in a and ${step.b?.status} in b`,
  }[step.change]
  const message = step.b?.errorMessage ?? step.a?.errorMessage
  return `first divergence: ${name} ${what}${message === undefined ? '' : `: ${plain(message)}`}`
}

function metadataLines({ terminal }: CommandContext, { metadata }: TraceComparison): string[] {
  if (metadata.length === 0) return []
  const valueText = (value: unknown): string => (value === undefined ? '–' : JSON.stringify(value))
  return [
    '',
    ...tableLines(
      metadata,
      [
        { title: 'METADATA', text: ({ path }) => path.join('.'), flexible: 12 },
        { title: 'A', text: ({ a }) => valueText(a), flexible: 12 },
        { title: 'B', text: ({ b }) => valueText(b), flexible: 12 },
      ],
      terminal,
    ),
  ]
}

const MARKS: Record<ComparedStep['change'], { mark: string; style: Style | undefined }> = {
  same: { mark: '', style: undefined },
  status: { mark: '≠', style: 'red' },
  missing: { mark: '−', style: 'yellow' },
  added: { mark: '+', style: 'cyan' },
}

function stepLines({ terminal }: CommandContext, comparison: TraceComparison, all: boolean): string[] {
  const { steps, stepsTruncated } = comparison
  // What is alike and took much the same tells nothing; with few steps it is the frame of the rest.
  const shown = all || steps.length <= SHOW_ALL_UP_TO ? steps : steps.filter(tells)
  if (shown.length === 0) return []
  const table = tableLines(
    shown,
    [
      { title: '', text: ({ change }) => MARKS[change].mark, style: ({ change }) => MARKS[change].style },
      {
        title: 'STEP',
        text: ({ path, occurrence }) =>
          `${path.length > 1 ? `${'· '.repeat(path.length - 1)}` : ''}${path.at(-1)}${occurrence > 1 ? ` (${occurrence})` : ''}`,
        flexible: 20,
        style: ({ change }) => MARKS[change].style,
      },
      { title: 'A', text: ({ a }) => sideText(a), right: true },
      { title: 'B', text: ({ b }) => sideText(b), right: true },
      { title: 'CHANGE', text: changeText, right: true, style: changeStyle },
    ],
    terminal,
  )
  const left = steps.length - shown.length
  const notes = [
    ...(left > 0 ? [`${counted(left, 'step')} alike left out: --all shows them`] : []),
    ...(stepsTruncated ? [`only the first ${steps.length} steps: --limit shows more`] : []),
  ]
  return ['', ...table, ...notes.map((note) => terminal.paint('dim', note))]
}

const SHOW_ALL_UP_TO = 40

/** A difference of a tenth and of 10 ms is more than the clock's chance. */
const tells = ({ change, a, durationChangeMs = 0 }: ComparedStep): boolean =>
  change !== 'same' || Math.abs(durationChangeMs) > Math.max(10, (a?.durationMs ?? 0) / 10)

const sideText = (run: ComparedStep['a']): string =>
  run === undefined
    ? '–'
    : `${run.status === 'success' ? '' : `${run.status} `}${run.durationMs === undefined ? '' : durationText(run.durationMs)}`.trim()

function changeText({ a, durationChangeMs }: ComparedStep): string {
  if (durationChangeMs === undefined) return ''
  const sign = durationChangeMs < 0 ? '−' : '+'
  const before = a?.durationMs ?? 0
  const share = before > 0 ? ` (${sign}${Math.round((Math.abs(durationChangeMs) / before) * 100)} %)` : ''
  return `${sign}${durationText(Math.abs(durationChangeMs))}${share}`
}

const changeStyle = (step: ComparedStep): Style | undefined =>
  !tells(step) || step.durationChangeMs === undefined ? 'dim' : step.durationChangeMs > 0 ? 'red' : 'green'
