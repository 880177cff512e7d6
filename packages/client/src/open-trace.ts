import {
  boundText,
  type Delta,
  ERROR_MAX_LENGTH,
  encodeAndCopy,
  encodeObject,
  type FinalStatus,
  JsonBytes,
  type JsonObject,
  METADATA_MAX_LENGTH,
  type Redactor,
  redactMessage,
  STEP_STATUSES,
  type StepId,
  type StepTuple,
  type TraceContextData,
  type TraceEnd,
  tellsStart,
  writeAndCopy,
} from '@stepwell/protocol'
import { perfMs } from './clock.ts'
import type { DropReason } from './counters.ts'
import { writeBeginning, writeEnding, writeExpected, writeHead, writeMetadata } from './encode-delta.ts'
import { metadataText } from './encode-metadata.ts'
import { closeStep, roundMs, stepText, writeStep, writeToAttributes } from './encode-step.ts'
import { GatheredSteps } from './gathered-steps.ts'
import { type DeferredStep, type OpenStep, OpenSteps, type RecordedStep, type StepEnd } from './open-steps.ts'
import { type RecentBudget, RecentSteps } from './recent-steps.ts'
import type { Stretch } from './stretch.ts'
import type { TraceBeginning } from './trace-beginning.ts'

// What a trace, and a text, cost in memory besides their letters: measured, with what waits in a full buffer.
const TRACE_OVERHEAD = 1_024
export const TEXT_OVERHEAD = 32
/** What `stepwell.truncated` takes. */
const MARK_LENGTH = 64
/** Of attributes that say nothing: `{}`. */
const EMPTY_LENGTH = 2
const STEPS = Buffer.from(',"s":[')
const COMMA = 44
const CLOSE_LIST = 93
const CLOSE = 125

/** When a trace ended and how long it took, in milliseconds; undefined: now; null: unknown. */
export interface EndTimes {
  completedAtMs?: number | null | undefined
  durationMs?: number | null | undefined
}

/**
 * One trace as its producer holds it. Begun → (steps start and end; texts gather until the next flush) → ended → flushed and
 * forgotten. Everything is encoded when it is recorded: a snapshot, with an exact size. What was taken for a frame is gone
 * from here; only the latest steps stay, for `getCurrentTrace()`.
 */
export class OpenTrace {
  /** '' until it is resolved. */
  traceId: string
  startedAtMs: number
  readonly skill: string
  readonly executionId: string | undefined
  readonly parent: TraceContextData | undefined
  /** Milliseconds after its start at which it counts as timed out. */
  readonly limitMs: number | undefined
  readonly isOwner: boolean
  /** Monotonic clock at the start, if that was now. */
  readonly startPerfMs: number | undefined
  readonly open = new OpenSteps()
  /** Of one whose steps can be asked for, and that has some. */
  recent: RecentSteps | undefined
  readonly #recentBudget: RecentBudget | undefined
  /** Steps that this producer started and completed in it. */
  counts = { started: 0, completed: 0 }
  end: TraceEnd | undefined
  /** Why nothing of it is sent, if that is so. */
  dropReason: DropReason | undefined
  /** Whether its beginning has been taken for a frame. */
  isBegun = false
  /** Its neighbours in `OpenTraces`, and whether it is there. */
  openBefore: OpenTrace | undefined
  openAfter: OpenTrace | undefined
  isListed = false
  /** Whether `Waiting` has it among the open ones. */
  isAmongOpen = false
  /** Monotonic clock when the oldest waiting event was recorded; undefined if none waits. */
  dirtySincePerfMs: number | undefined
  /** Events that wait to be taken. */
  events = 0
  /** Bytes that wait to be taken, overhead included. */
  bytes = 0
  /** Where completed steps are written, and wait. */
  readonly completed = new GatheredSteps(this)
  #metadataText: string
  #metadataRevision = 0
  #metadataWaits = false
  #attributesLeft = METADATA_MAX_LENGTH
  #isEndTaken = false
  /** Of one that is not resolved yet. */
  #deferred: DeferredStep[] | undefined
  readonly #redactor: Redactor | undefined
  readonly #idPrefix: string
  readonly #nextStepNumber: (() => number) | undefined
  #steps = 0

  constructor(beginning: TraceBeginning) {
    this.traceId = beginning.traceId
    this.startedAtMs = Math.floor(beginning.startedAtMs)
    this.skill = beginning.skill
    this.executionId = beginning.executionId
    this.parent = beginning.parent
    this.isOwner = beginning.idPrefix === ''
    this.limitMs = beginning.limitMs
    this.startPerfMs = beginning.startPerfMs
    this.#idPrefix = beginning.idPrefix
    this.#nextStepNumber = beginning.nextStepNumber
    this.#redactor = beginning.redactor
    this.#recentBudget = beginning.recentBudget
    this.#metadataText = metadataText(beginning)
    if (this.#metadataText !== '{}') {
      this.#metadataRevision = 1
      this.#metadataWaits = true
    }
    this.bytes = TRACE_OVERHEAD + this.skill.length + this.#metadataText.length
  }

  /** Whether it is known which trace this is: for one attached by execution id only after a while. */
  get isResolved(): boolean {
    return this.traceId !== ''
  }

  /** It is this trace: what was recorded so far can be encoded, for offsets count from its start. */
  resolve(traceId: string, startedAtMs: number): void {
    this.traceId = traceId
    this.startedAtMs = startedAtMs
    this.bytes = TRACE_OVERHEAD
    for (const step of this.#deferred ?? []) {
      const out = this.completed.begin()
      this.writeStep(out, step, step.startedAtMs, step, undefined)
      this.keepStep(out)
    }
    this.#deferred = undefined
  }

  /** It turned out to be the same trace as `other`: what is expected of their producer is told of both together. */
  joinCounts(other: OpenTrace): void {
    other.counts.started += this.counts.started
    other.counts.completed += this.counts.completed
    this.counts = other.counts
  }

  /** Milliseconds since 1970, with fraction: of a live trace by the monotonic clock from its start on. */
  nowMs(): number {
    return this.startPerfMs === undefined ? Date.now() : this.#msAt(perfMs())
  }

  #msAt(nowPerfMs: number): number {
    return this.startPerfMs === undefined ? Date.now() : this.startedAtMs + (nowPerfMs - this.startPerfMs)
  }

  newStepId(): StepId {
    const number = this.#nextStepNumber === undefined ? ++this.#steps : this.#nextStepNumber()
    return this.#idPrefix === '' ? number : this.#idPrefix + number
  }

  /** The text of a step's attributes; of what goes over the trace's budget as much as fits, marked. */
  encodeAttributes(attributes: unknown): string | undefined {
    if (attributes === undefined) return undefined
    const text = encodeObject(attributes, Math.max(64, this.#attributesLeft), this.#redactor)
    this.#attributesLeft -= text.length
    return text === '{}' ? undefined : text
  }

  /** The same with what the text says; undefined where it says nothing. */
  encodeAndCopy(attributes: unknown): { text: string; copy: JsonObject } | undefined {
    const encoded = encodeAndCopy(attributes, Math.max(64, this.#attributesLeft), this.#redactor)
    this.#attributesLeft -= encoded.text.length
    return encoded.text === '{}' ? undefined : encoded
  }

  startStep(
    name: string,
    startedAtMs: number | null | undefined,
    parentId: StepId | undefined,
    attributes: string | undefined,
  ): OpenStep {
    // Read once: asking the clock takes as long as encoding an attribute.
    const isTimed = startedAtMs === undefined || startedAtMs === null
    const startedPerfMs = isTimed ? perfMs() : undefined
    const step: OpenStep = {
      id: this.newStepId(),
      name,
      startedAtMs: startedAtMs === undefined ? this.#msAt(startedPerfMs as number) : startedAtMs,
      startedPerfMs,
      parentId,
      attributes,
      end: undefined,
      asEnded: undefined,
      before: undefined,
      after: undefined,
      beforeOfName: undefined,
      afterOfName: undefined,
      isListed: false,
    }
    this.counts.started += 1
    this.open.add(step)
    return step
  }

  /** The error message of a step or of the trace: without secrets, and bounded. */
  messageText(message: string): string {
    return boundText(redactMessage(message, this.#redactor), ERROR_MAX_LENGTH)
  }

  /**
   * Writes a completed step as it travels, with attributes as they are `given` now, else with its own. Its offset counts from the trace's
   * start as it is known now. Gives a copy of those given.
   */
  writeStep(
    out: JsonBytes,
    step: RecordedStep,
    startedAtMs: number | null,
    end: StepEnd,
    given: unknown,
  ): JsonObject | undefined {
    const { durationMs, status, errorMessage } = end
    const statusIndex = status === 'success' ? 0 : STEP_STATUSES.indexOf(status)
    const startMs = this.#offset(startedAtMs)
    if (given === undefined) {
      writeStep(out, step, startMs, durationMs, statusIndex, errorMessage, step.attributes)
      return undefined
    }
    const { length, units } = out
    writeToAttributes(out, step, startMs, durationMs, statusIndex, errorMessage)
    const before = out.units
    const copy = writeAndCopy(out, given, Math.max(64, this.#attributesLeft), this.#redactor)
    const written = out.units - before
    this.#attributesLeft -= written
    if (written > EMPTY_LENGTH) {
      closeStep(out)
      return copy
    }
    out.cutBack(length, units)
    writeStep(out, step, startMs, durationMs, statusIndex, errorMessage, undefined)
    return undefined
  }

  /** Adds a completed step that was written to what waits. */
  keepStep(out: JsonBytes): void {
    this.bytes += this.completed.lengthOf(out) + TEXT_OVERHEAD
    this.completed.keep(out)
    // Of a trace that has ended nobody else calls for it.
    if (this.completed.isLong || this.end !== undefined) this.gather()
  }

  /** The text of a completed step, as it is known now. */
  textOf(step: DeferredStep): string {
    const out = new JsonBytes()
    this.writeStep(out, step, step.startedAtMs, step, undefined)
    return out.text()
  }

  /** The same for a step of a trace that is not resolved yet: its text, of about that length, is made when it is. */
  deferStep(step: DeferredStep, length: number): void {
    this.#deferred ??= []
    this.#deferred.push(step)
    this.bytes += length + TEXT_OVERHEAD
  }

  /** Makes what waits as small in memory as is counted: for when it may wait for long, or nothing more is to come. */
  gather(): void {
    this.completed.gather()
  }

  /** Completed steps can be asked for, while the trace is open. */
  remember(stretch: Stretch): void {
    if (this.end !== undefined || this.#recentBudget === undefined) return
    this.recent ??= new RecentSteps(this.#recentBudget)
    this.recent.add(stretch)
  }

  /** The latest of its completed steps, oldest first. */
  latestSteps(): StepTuple[] {
    this.gather()
    return this.recent?.latest() ?? []
  }

  /** Adds to the metadata. What would make it longer by more than there is room for, and than a mark that says so, is left out. */
  setMetadata(patch: unknown, roomBytes: number): void {
    const before = this.#metadataText.length
    const maxLength = Math.min(METADATA_MAX_LENGTH, before + Math.max(MARK_LENGTH, roomBytes))
    const added = JSON.parse(encodeObject(patch, undefined, this.#redactor))
    this.#metadataText = encodeObject({ ...this.metadata, ...added }, maxLength)
    const growth = this.#metadataText.length - before
    // Of what does not wait any more nothing can be taken off.
    this.bytes += this.#metadataWaits ? growth : Math.max(0, growth)
    this.#metadataRevision = Math.max(1, this.#metadataRevision) + 1
    this.#metadataWaits = true
  }

  get metadata(): JsonObject {
    return JSON.parse(this.#metadataText)
  }

  /** The end that it has if it ends now. */
  makeEnd(status: FinalStatus, errorMessage: string | undefined, times: EndTimes): TraceEnd {
    const completedAtMs = times.completedAtMs === null ? null : Math.floor(times.completedAtMs ?? Date.now())
    const measured = (times.completedAtMs ?? this.nowMs()) - this.startedAtMs
    return {
      status,
      completedAtMs,
      durationMs: times.durationMs === null ? null : roundMs(Math.max(0, times.durationMs ?? measured)),
      errorMessage: errorMessage === undefined ? null : this.messageText(errorMessage),
    }
  }

  /**
   * Takes what waits as one delta of at most `maxBytes`, or as much of it as fits, in which case the end stays for the next, and writes
   * it. Whoever takes it MUST send it.
   */
  take(out: JsonBytes, maxBytes: number): { events: number; rest: boolean } {
    const begin = out.length
    let events = 0
    this.#writeHead(out)
    if (this.isOwner && !this.isBegun) {
      writeBeginning(out, this)
      this.isBegun = true
      events += 1
    }
    if (this.#metadataWaits) {
      writeMetadata(out, this.#metadataText, this.#metadataRevision)
      this.#metadataWaits = false
    }
    const { taken, rest } = this.#takeSteps(out, maxBytes - (out.length - begin) - 256)
    events += taken
    writeExpected(out, this.counts)
    if (this.end !== undefined && !rest) {
      writeEnding(out, this.end, this.startedAtMs)
      if (!this.#isEndTaken) events += 1
      this.#isEndTaken = true
    }
    out.byte(CLOSE)
    this.events -= events
    if (!rest) {
      this.bytes = 0
      this.dirtySincePerfMs = undefined
    } else this.bytes = Math.max(0, this.bytes - (out.length - begin))
    return { events, rest }
  }

  /** Writes the member of the delta that holds its steps, unless there are none: those that completed, then the open ones nobody was told of. */
  #takeSteps(out: JsonBytes, maxBytes: number): { taken: number; rest: boolean } {
    this.gather()
    if (this.completed.isEmpty && this.open.firstUntold === undefined) return { taken: 0, rest: false }
    out.ascii(STEPS)
    const begin = out.length
    const completed = this.completed.take(out, maxBytes)
    let { rest } = completed
    for (let step = this.open.firstUntold; step !== undefined && !rest; step = this.open.firstUntold) {
      const { length, units } = out
      if (length > begin) out.byte(COMMA)
      writeStep(out, step, this.#offset(step.startedAtMs), null, 0, undefined, step.attributes)
      // One at least.
      rest = out.length - begin > maxBytes && length > begin
      if (rest) out.cutBack(length, units)
      else this.open.tellFirst()
    }
    out.byte(CLOSE_LIST)
    return { taken: completed.steps, rest }
  }

  #writeHead(out: JsonBytes): void {
    const { traceId, startedAtMs } = this
    writeHead(
      out,
      traceId,
      tellsStart(traceId) ? undefined : startedAtMs,
      this.isOwner ? this.skill : undefined,
    )
  }

  #offset(startedAtMs: number | null): number | null {
    return startedAtMs === null ? null : startedAtMs - this.startedAtMs
  }

  #openText(step: OpenStep): string {
    return stepText(step, this.#offset(step.startedAtMs), null, 0, undefined)
  }

  /** All that is still known of it, with these steps, as one delta: for whoever stores it by another way. */
  toDelta(recent: readonly StepTuple[]): Delta {
    const tuples = [...recent]
    for (const step of this.open) tuples.push(JSON.parse(this.#openText(step)) as StepTuple)
    const out = new JsonBytes()
    this.#writeHead(out)
    if (this.isOwner) writeBeginning(out, this)
    if (this.#metadataRevision > 0) writeMetadata(out, this.#metadataText, this.#metadataRevision)
    writeExpected(out, this.counts)
    out.byte(CLOSE)
    return { ...JSON.parse(out.text()), s: tuples }
  }
}
