import {
  boundText,
  type FinalStatus,
  type JsonObject,
  type Step,
  type StepId,
  type StepStatus,
  type TraceEnd,
} from '@stepwell/protocol'
import { perfMs } from './clock.ts'
import type { Counters, DropReason } from './counters.ts'
import { roundMs } from './encode-step.ts'
import { checkStatus, durationOf, messageOf, nameOf, stepIdOf, timeOf } from './given-values.ts'
import type { OpenStep, RecordedStep, StepEnd } from './open-steps.ts'
import { type EndTimes, type OpenTrace, TEXT_OVERHEAD } from './open-trace.ts'
import { OpenTraces } from './open-traces.ts'
import type { Sender } from './sender.ts'

/** What an end costs besides its message; and how long a message is that goes with it though the buffer is full. */
const END_BYTES = 128
const SHORT_MESSAGE_LENGTH = 128

/** What a step may come with. */
export interface StepOptions {
  /** What the step says about itself, any value; see `encodeObject` of the protocol for what becomes of odd ones. */
  attributes?: unknown
  /** When it started: a Date or milliseconds since 1970; null: unknown. Default: now; for `recordStep` its duration ago. */
  startedAt?: Date | number | null | undefined
  /** The step that it ran in. Default: the step that the flow is in. */
  parentId?: StepId | undefined
}

/**
 * Puts events into traces: counts each, gives up those for which there is no room, and tells the sender. One per tracer;
 * handles and recorders are thin forms over it. Nothing here throws for what is recorded, but for an unknown status.
 */
export class Recording {
  readonly #sender: Sender
  readonly #counters: Counters
  /** Those that this tracer started. */
  readonly openTraces = new OpenTraces()
  #isClosed = false
  #hasGivenUp = false

  constructor(sender: Sender, counters: Counters) {
    this.#sender = sender
    this.#counters = counters
  }

  /** From now on everything is dropped, as `closed`; what waited is no longer ours to count. */
  close(): void {
    this.#isClosed = true
    this.openTraces.clear()
  }

  #dropReasonOf(trace: OpenTrace): DropReason | undefined {
    return this.#isClosed ? 'closed' : trace.dropReason
  }

  begin(trace: OpenTrace, openTracesMax: number): void {
    this.#counters.emitted += 1
    if (this.#isClosed) trace.dropReason = 'closed'
    if (this.openTraces.size >= openTracesMax) trace.dropReason ??= 'too_many_traces'
    else if (!this.#sender.hasRoom(trace.bytes, 'edge')) trace.dropReason ??= this.#sender.fullReason
    // One for which only the buffer has no room is open all the same: what is recorded in it is lost with it.
    if (
      trace.dropReason === undefined ||
      trace.dropReason === 'buffer_full' ||
      trace.dropReason === 'backlog'
    )
      this.openTraces.add(trace)
    else this.#hasGivenUp = true
    if (trace.dropReason !== undefined) this.#sender.drop(trace.dropReason, 1)
    else {
      trace.events += 1
      this.#sender.noteNews(trace, trace.bytes, trace.startPerfMs)
    }
  }

  /**
   * Whether a trace that is not found may be one that there was no room for, or that was open at close: then nobody used
   * the client wrongly, and the events count as lost.
   */
  lose(events: number): boolean {
    if (!this.#isClosed && !this.#hasGivenUp) return false
    this.#counters.emitted += events
    if (events > 0) this.#sender.drop(this.#isClosed ? 'closed' : 'too_many_traces', events)
    return true
  }

  startStep(
    trace: OpenTrace,
    name: string,
    options: StepOptions | null | undefined,
    parentId: StepId | undefined,
  ): OpenStep {
    const step = trace.startStep(
      nameOf(name),
      options?.startedAt === null ? null : timeOf(options?.startedAt),
      stepIdOf(options?.parentId) ?? parentId,
      trace.encodeAttributes(options?.attributes),
    )
    if (this.#dropReasonOf(trace) === undefined) this.#sender.noteNews(trace, 0)
    return step
  }

  /** Completes an open step, now or at `endedAt`, and returns it. A second end changes nothing. */
  endStep(
    trace: OpenTrace,
    open: OpenStep,
    status: StepStatus,
    errorMessage: string | undefined,
    options?: { attributes?: unknown; endedAt?: Date | number | undefined } | null,
  ): Step {
    this.finishStep(trace, open, status, errorMessage, options)
    const { attributes } = open
    open.asEnded ??= stepOf(
      open,
      open.startedAtMs,
      open.end as StepEnd,
      attributes === undefined ? undefined : JSON.parse(attributes),
    )
    return open.asEnded
  }

  /** The same for those who do not ask what became of it. */
  finishStep(
    trace: OpenTrace,
    open: OpenStep,
    status: StepStatus,
    errorMessage: string | undefined,
    options?: { attributes?: unknown; endedAt?: Date | number | undefined } | null,
  ): void {
    checkStatus(status)
    if (open.end !== undefined) return
    if (options?.attributes !== undefined) this.setAttributes(trace, open, options.attributes)
    const endedAtMs = timeOf(options?.endedAt)
    const durationMs =
      endedAtMs === undefined && open.startedPerfMs !== undefined
        ? perfMs() - open.startedPerfMs
        : Math.max(0, open.startedAtMs === null ? 0 : (endedAtMs ?? Date.now()) - open.startedAtMs)
    trace.open.delete(open)
    open.end = endOf(trace, durationMs, status, errorMessage)
    this.#complete(trace, open, open.startedAtMs, open.end)
  }

  /** A step that ended now and took `durationMs`, unless `startedAt` says when it began. */
  recordStep(
    trace: OpenTrace,
    givenName: string,
    givenMs: number,
    status: StepStatus,
    errorMessage: string | undefined,
    options: StepOptions | null | undefined,
    outerId: StepId | undefined,
  ): Step {
    checkStatus(status)
    const lasted = durationOf(givenMs) ?? 0
    const given = options ?? NO_OPTIONS
    trace.counts.started += 1
    const id = trace.newStepId()
    const name = nameOf(givenName)
    const startedAtMs = given.startedAt === null ? null : (timeOf(given.startedAt) ?? trace.nowMs() - lasted)
    const parentId = stepIdOf(given.parentId) ?? outerId
    const { attributes } = given
    if (
      startedAtMs !== null &&
      parentId === undefined &&
      errorMessage === undefined &&
      attributes === undefined
    ) {
      // What nearly all are: what is given back is what is written. An object for each of these, and one for the end, took a twentieth
      // of a short run.
      const step = { id, name, durationMs: roundMs(lasted), status, timestamp: new Date(startedAtMs) }
      this.#complete(trace, step, startedAtMs, step)
      return step
    }
    const step: RecordedStep = { id, name, parentId }
    const end = endOf(trace, lasted, status, errorMessage)
    return stepOf(step, startedAtMs, end, this.#complete(trace, step, startedAtMs, end, attributes))
  }

  /** With attributes as they are `given` now, else with those of the step. Gives a copy of those given. */
  #complete(
    trace: OpenTrace,
    step: RecordedStep,
    startedAtMs: number | null,
    end: StepEnd,
    given?: unknown,
  ): JsonObject | undefined {
    if (!trace.isResolved) return this.#completeUnresolved(trace, step, startedAtMs, end, given)
    const out = trace.completed.begin()
    try {
      const copy = trace.writeStep(out, step, startedAtMs, end, given)
      if (this.#takes(trace, trace.completed.lengthOf(out))) {
        const before = trace.bytes
        trace.keepStep(out)
        trace.events += 1
        this.#sender.noteNews(trace, trace.bytes - before)
      } else {
        // It is over, whether or not there is room for it.
        trace.remember(trace.completed.undo(out))
        this.#lost(trace)
      }
      return copy
    } catch (error) {
      // There is no room on the stack: that is the host's to hear of.
      trace.completed.abandoned = out
      throw error
    }
  }

  /** The same while it is not known which trace it is: it is written when that is known, but its attributes are encoded now. */
  #completeUnresolved(
    trace: OpenTrace,
    recorded: RecordedStep,
    startedAtMs: number | null,
    end: StepEnd,
    given: unknown,
  ): JsonObject | undefined {
    const encoded = given === undefined ? undefined : trace.encodeAndCopy(given)
    const { id, name, parentId } = recorded
    const { durationMs, status, errorMessage } = end
    const attributes = encoded?.text ?? recorded.attributes
    // A copy: what was recorded may be what the host was given, and may change.
    const step = { id, name, parentId, startedAtMs, durationMs, status, errorMessage, attributes }
    const { length } = trace.textOf(step)
    if (this.#takes(trace, length)) {
      trace.deferStep(step, length)
      trace.events += 1
      this.#sender.noteNews(trace, length + TEXT_OVERHEAD)
    } else this.#lost(trace)
    return encoded?.copy
  }

  /** Counts a completed step of this length. Whether it goes on: nobody gave its trace up, and there is room. */
  #takes(trace: OpenTrace, length: number): boolean {
    const takes =
      this.#dropReasonOf(trace) === undefined && this.#sender.hasRoom(length + TEXT_OVERHEAD, 'step')
    this.#counters.emitted += 1
    trace.counts.completed += 1
    return takes
  }

  /** Counts it as dropped. */
  #lost(trace: OpenTrace): void {
    const dropReason = this.#dropReasonOf(trace)
    if (dropReason === undefined) this.#sender.drop(this.#sender.fullReason, 1)
    else this.#sender.dropRest(dropReason)
  }

  /** Adds to the attributes of a step. After its end: nothing. */
  setAttributes(trace: OpenTrace, step: OpenStep, attributes: unknown): void {
    if (step.end !== undefined) return
    const known = step.attributes === undefined ? {} : JSON.parse(step.attributes)
    const added = trace.encodeAttributes(attributes)
    if (added !== undefined) step.attributes = JSON.stringify({ ...known, ...JSON.parse(added) })
  }

  /** Adds to the metadata of the trace. */
  setMetadata(trace: OpenTrace, patch: unknown): void {
    const before = trace.bytes
    trace.setMetadata(patch, this.#sender.roomBytes)
    if (this.#dropReasonOf(trace) === undefined) this.#sender.noteNews(trace, trace.bytes - before)
  }

  /** Ends the trace. A second end is ignored. */
  end(
    trace: OpenTrace,
    status: FinalStatus,
    errorMessage: string | undefined,
    times: EndTimes = {},
  ): TraceEnd {
    if (trace.end !== undefined) return trace.end
    return this.#finish(trace, trace.makeEnd(status, messageOf(errorMessage), times))
  }

  /** Ends the trace with an end that was decided elsewhere. A second end is ignored. */
  endAs(trace: OpenTrace, end: TraceEnd): void {
    if (trace.end === undefined) this.#finish(trace, end)
  }

  #finish(trace: OpenTrace, whole: TraceEnd): TraceEnd {
    this.#counters.emitted += 1
    this.openTraces.delete(trace)
    trace.recent?.clear()
    const dropReason = this.#dropReasonOf(trace)
    const end = dropReason === undefined ? this.#fitting(whole) : whole
    trace.end = end
    trace.gather()
    if (dropReason !== undefined) this.#sender.dropRest(dropReason)
    else {
      const bytes = END_BYTES + (end.errorMessage?.length ?? 0)
      trace.events += 1
      trace.bytes += bytes
      this.#sender.noteEnd(trace, bytes)
    }
    return end
  }

  /**
   * An end always has room, for without it a run whose start was sent would seem to run until its producer is silent. It takes less
   * than its trace does while it is open, and so many are open at once; only its message may have to be short.
   */
  #fitting(end: TraceEnd): TraceEnd {
    const { errorMessage } = end
    return errorMessage === null || this.#sender.hasRoom(END_BYTES + errorMessage.length, 'edge')
      ? end
      : { ...end, errorMessage: boundText(errorMessage, SHORT_MESSAGE_LENGTH) }
  }

  /** Nobody knows the trace that was attached to: what was recorded of it is lost. */
  giveUp(trace: OpenTrace): void {
    if (this.#isClosed) return
    trace.dropReason = 'unresolved'
    if (trace.events > 0) this.#sender.drop('unresolved', trace.events)
    this.#sender.forget(trace)
  }

  /** The trace that was attached to is known now. */
  resolve(trace: OpenTrace, traceId: string, startedAtMs: number): void {
    if (this.#isClosed) return
    const before = trace.bytes
    trace.resolve(traceId, startedAtMs)
    this.#sender.noteNews(trace, trace.bytes - before)
  }
}

const NO_OPTIONS: StepOptions = {}

function endOf(
  trace: OpenTrace,
  durationMs: number,
  status: StepStatus,
  errorMessage: string | undefined,
): StepEnd {
  const message = messageOf(errorMessage)
  return {
    durationMs: roundMs(durationMs),
    status,
    errorMessage: message === undefined ? undefined : trace.messageText(message),
  }
}

function stepOf(
  { id, name, parentId }: RecordedStep,
  startedAtMs: number | null,
  { durationMs, status, errorMessage }: StepEnd,
  attributes: JsonObject | undefined,
): Step {
  // What nearly all are, in one piece: what is added to an object later lies apart from it.
  if (startedAtMs !== null && errorMessage === undefined && parentId === undefined) {
    const timestamp = new Date(startedAtMs)
    return attributes === undefined
      ? { id, name, durationMs, status, timestamp }
      : { id, name, durationMs, status, timestamp, attributes }
  }
  const step: Step = { id, name, durationMs, status }
  if (startedAtMs !== null) step.timestamp = new Date(startedAtMs)
  if (errorMessage !== undefined) step.errorMessage = errorMessage
  if (parentId !== undefined) step.parentId = parentId
  if (attributes !== undefined) step.attributes = attributes
  return step
}
