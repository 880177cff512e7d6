import type { JsonBytes, TraceContextData, TraceEnd } from '@stepwell/protocol'
import { writeMs } from './encode-step.ts'

const TRACE_ID = Buffer.from('{"t":')
const START = Buffer.from(',"at":')
const SKILL = Buffer.from(',"k":')
const BEGINNING = Buffer.from(',"b":1')
const EXECUTION_ID = Buffer.from(',"x":')
const LIMIT = Buffer.from(',"l":')
const PARENT = Buffer.from(',"u":')
const METADATA = Buffer.from(',"m":')
const REVISION = Buffer.from(',"r":')
const EXPECTED = Buffer.from(',"n":[')
const END = Buffer.from(',"e":["')
const AFTER_STATUS = Buffer.from('",')
const NULL = Buffer.from('null')
const COMMA = 44
const CLOSE_LIST = 93

// The members of a delta (docs/PROTOCOL.md), one after the other. As a text that is put together and then encoded they took a tenth of all
// that a run of ten steps takes.

/** Writes the first ones, those that every delta has: which trace it is, when it started if the id does not tell, and whose run. */
export function writeHead(
  out: JsonBytes,
  traceId: string,
  startedAtMs: number | undefined,
  skill: string | undefined,
): void {
  out.ascii(TRACE_ID)
  out.shortText(traceId)
  if (startedAtMs !== undefined) {
    out.ascii(START)
    out.number(startedAtMs)
  }
  if (skill === undefined) return
  out.ascii(SKILL)
  writeText(out, skill)
}

/** Writes those that say how the trace began. */
export function writeBeginning(
  out: JsonBytes,
  trace: {
    readonly executionId: string | undefined
    readonly limitMs: number | undefined
    readonly parent: TraceContextData | undefined
  },
): void {
  const { executionId, limitMs, parent } = trace
  out.ascii(BEGINNING)
  if (executionId !== undefined) {
    out.ascii(EXECUTION_ID)
    writeText(out, executionId)
  }
  if (limitMs !== undefined) {
    out.ascii(LIMIT)
    out.number(limitMs)
  }
  if (parent !== undefined) {
    const { traceId, stepId, rootTraceId } = parent
    out.ascii(PARENT)
    out.json(JSON.stringify([traceId, stepId ?? null, rootTraceId ?? traceId]))
  }
}

/** Writes the metadata, which are JSON text, and how often they were changed. */
export function writeMetadata(out: JsonBytes, metadata: string, revision: number): void {
  out.ascii(METADATA)
  out.json(metadata)
  out.ascii(REVISION)
  out.number(revision)
}

/** Writes how many steps its producer started and completed. */
export function writeExpected(out: JsonBytes, counts: { started: number; completed: number }): void {
  out.ascii(EXPECTED)
  out.number(counts.started)
  out.byte(COMMA)
  out.number(counts.completed)
  out.byte(CLOSE_LIST)
}

/** Writes how the trace ended. */
export function writeEnding(out: JsonBytes, end: TraceEnd, startedAtMs: number): void {
  const { status, completedAtMs, durationMs, errorMessage } = end
  out.ascii(END)
  out.byte(status.charCodeAt(0))
  out.ascii(AFTER_STATUS)
  if (completedAtMs === null) out.ascii(NULL)
  else out.number(completedAtMs - startedAtMs)
  out.byte(COMMA)
  if (durationMs === null) out.ascii(NULL)
  else writeMs(out, durationMs)
  if (errorMessage !== null) {
    out.byte(COMMA)
    out.json(JSON.stringify(errorMessage))
  }
  out.byte(CLOSE_LIST)
}

function writeText(out: JsonBytes, text: string): void {
  if (!out.shortText(text)) out.json(JSON.stringify(text))
}
