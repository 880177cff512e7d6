import {
  DELTA_OF_TRACE,
  type Delta,
  END_TRACE,
  FINAL_STATUSES,
  type FinalStatus,
  InvalidInputError,
  InvalidStatusError,
  newTraceId,
  parseTraceId,
  type Trace,
  type TraceContextData,
  TraceContextError,
  type TraceEnd,
  textOf,
  traceIdStart,
} from '@stepwell/protocol'
import { Attachments } from './attachments.ts'
import { perfMs } from './clock.ts'
import { currentPlace, type Place, placeIn, places } from './context.ts'
import { Counters, type TracerCounters } from './counters.ts'
import { flushBeforeExit } from './exit-flush.ts'
import { durationOf, executionIdOf, isStart, nameOf, stepIdOf, timeOf } from './given-values.ts'
import { type AttachedTrace, functionToRun, noStep, runIn, TraceHandle } from './handles.ts'
import { LastResort } from './last-resort.ts'
import { liveTrace } from './live-trace.ts'
import { OpenTrace } from './open-trace.ts'
import { readOptions, type Settings, type TracerOptions, timeoutOf } from './options.ts'
import type { RecentBudget } from './recent-steps.ts'
import { Recording } from './recording.ts'
import { redisSink } from './redis-sink.ts'
import { Episode } from './report.ts'
import { Sender } from './sender.ts'
import type { Sink } from './sink.ts'

/** What a trace may come with. */
export interface TraceOptions {
  /** The caller's own name for the run; other processes and later questions find the trace by it. */
  executionId?: string | null | undefined
  /** What the trace says about itself, any value. */
  metadata?: unknown
  /** When it started: a Date or milliseconds since 1970, from 2000 to a day from now. Default: now. */
  startedAt?: Date | number | undefined
  /** An id of one's own, a UUID of any version. A UUIDv7's time must be the start. Default: a new one. */
  traceId?: string | undefined
  /** The trace, and step, that it was started from. Default for `trace()`: where the flow is; null: none. */
  parent?: TraceContextData | null | undefined
  /** Milliseconds after its start at which it counts as timed out. Default: never, while the process lives. */
  timeoutMs?: number | undefined
}

/** How a trace ends. */
export interface EndOptions {
  errorMessage?: string | undefined
  /** Default: now; null: unknown. */
  completedAt?: Date | number | null | undefined
  /** Milliseconds. Default: from its start to its end; null: unknown. */
  durationMs?: number | null | undefined
  /** Default: the current trace. */
  traceId?: string | undefined
}

/** A snapshot of a running trace: up to 1,000 of its latest steps. */
export interface LiveTrace extends Trace {
  /** Whether earlier steps are left out. */
  stepsTruncated: boolean
  [DELTA_OF_TRACE](): Delta
  [END_TRACE](end: TraceEnd): void
}

/**
 * Emits traces, fire and forget. After construction no call blocks, throws or rejects because Redis is slow, full or gone: memory
 * is bounded, what does not fit is counted by reason and reported once. Wrong use (a status that is none, a step that was
 * never started) throws, and touches nothing else. Close it at the end; a process that ends by itself is flushed.
 */
export class ExecutionTracer implements AsyncDisposable {
  readonly #settings: Settings
  readonly #counters = new Counters()
  readonly #sink: Sink | undefined
  readonly #sender: Sender | undefined
  readonly #recording: Recording | undefined
  readonly #attachments: Attachments | undefined
  readonly #heartbeat: NodeJS.Timeout | undefined
  readonly #stopExitFlush: (() => void) | undefined
  readonly #lastResort: LastResort | undefined
  #closing: Promise<TracerCounters> | undefined
  readonly #recentBudget: RecentBudget
  #hasTriedAtExit = false

  /** Throws InvalidInputError for options that cannot be used. Connecting happens behind it. */
  constructor(options: TracerOptions) {
    this.#settings = readOptions(options)
    this.#recentBudget = { used: 0, max: this.#settings.bufferMaxBytes }
    if (this.#settings.disabled) return
    const { namespace, shards, compression, backlogMaxBytes } = this.#settings
    const sink =
      options.sink ??
      redisSink(options.redis as NonNullable<TracerOptions['redis']>, {
        namespace,
        shards,
        compression,
        backlogMaxBytes,
      })
    const episode = new Episode(this.#settings.report)
    this.#sink = sink
    this.#sender = new Sender(sink, this.#settings, this.#counters, episode)
    this.#recording = new Recording(this.#sender, this.#counters)
    this.#attachments = new Attachments(this.#recording, sink, this.#settings, this.#sender.producer)
    this.#heartbeat = setInterval(() => {
      if ((this.#recording?.openTraces.size ?? 0) > 0 || this.#attachments?.hasOpenSteps) this.#sender?.beat()
    }, this.#settings.heartbeatIntervalMs).unref()
    this.#stopExitFlush = flushBeforeExit(() => this.#flushAtExit())
    const { spool } = this.#settings
    if (spool === undefined) return
    const { report } = this.#settings
    const onTrouble = (message: string): void => report({ kind: 'trouble', message, dropped: {} })
    const parts = { sink, sender: this.#sender, counters: this.#counters, shards, onTrouble }
    this.#lastResort = new LastResort(spool, parts)
  }

  /**
   * Runs `fn` as a trace of the skill. Returns what it returns; what it throws or rejects with ends the trace as failed, and is
   * thrown on unchanged. Throws InvalidInputError for a start or an id that cannot be used, before `fn` runs.
   */
  trace<T>(skillName: string, fn: (trace: TraceHandle) => T): T
  trace<T>(skillName: string, options: TraceOptions, fn: (trace: TraceHandle) => T): T
  trace<T>(
    skillName: string,
    second: TraceOptions | ((trace: TraceHandle) => T),
    third?: (trace: TraceHandle) => T,
  ): T {
    // First: a disabled tracer makes nothing, not even the pair that the line below gives.
    if (this.#recording === undefined && typeof second === 'function')
      return second(noStep as unknown as TraceHandle)
    const fn = functionToRun<TraceOptions, TraceHandle, T>('trace', second, third)
    if (this.#recording === undefined) return fn(noStep as unknown as TraceHandle)
    const options = fn === second ? NO_OPTIONS : ((second as TraceOptions | null) ?? NO_OPTIONS)
    const outer = currentPlace()
    const around = options.parent === undefined ? outer : undefined
    const parent = around === undefined ? options.parent : contextOf(around)
    const trace = this.#begin(skillName, options, parent)
    const handle = new TraceHandle(this.#recording, trace)
    return runIn(placeIn(outer, trace, this.#recording, undefined), fn, handle)
  }

  /**
   * Starts a trace and returns its id at once. It is the current trace for what follows in the same flow, until `endTrace`, or
   * `finalizeTrace` of a TraceStorage. What a caller sees after an `await` differs between versions of Node: there the tracer's
   * only open trace is meant; with several use `trace(fn)` or `recorder.bind(traceId)`.
   */
  startTrace(skillName: string, executionId?: string | null, metadata?: unknown): string
  startTrace(skillName: string, options: TraceOptions): string
  startTrace(skillName: string, second?: string | null | TraceOptions, metadata?: unknown): string {
    const options: TraceOptions =
      typeof second === 'object' && second !== null ? second : { executionId: second, metadata }
    if (this.#recording === undefined) return noStep.traceId
    const trace = this.#begin(skillName, options, options.parent)
    let outer = currentPlace()
    // Traces that there is no room for and that nobody ends would make an endless chain.
    if (trace.dropReason !== undefined) while (outer?.trace.dropReason !== undefined) outer = outer.outer
    places.enterWith(placeIn(outer, trace, this.#recording, undefined))
    return trace.traceId
  }

  /** Ends the current trace, or the one named. Throws InvalidStatusError, TraceContextError. A second end changes nothing. */
  endTrace(status: FinalStatus = 'success', options?: EndOptions | null): void {
    if (!FINAL_STATUSES.includes(status)) throw new InvalidStatusError(status, FINAL_STATUSES)
    if (this.#recording === undefined) return
    const { traceId, errorMessage, completedAt, durationMs } = options ?? {}
    const trace =
      traceId === undefined
        ? this.currentPlace()?.trace
        : this.#recording.openTraces.get(textOf(traceId).toLowerCase())
    if (trace === undefined) {
      if (traceId === undefined && !this.#recording.lose(1)) throw new TraceContextError(0)
      return
    }
    this.#recording.end(trace, status, errorMessage, {
      completedAtMs: completedAt === null ? null : timeOf(completedAt),
      durationMs: durationMs === null ? null : durationOf(durationMs),
    })
  }

  /** Id of the current trace, or undefined. Throws TraceContextError where several could be meant. */
  getTraceId(): string | undefined
  /**
   * Id of the trace with this execution id: of this process, else by Redis for an hour from its last sign of life, else by
   * `resolveTraceId`; undefined if it is unknown. Never rejects; a second or two at most, but for `resolveTraceId`.
   */
  getTraceId(executionId: string): Promise<string | undefined>
  getTraceId(executionId?: string): string | undefined | Promise<string | undefined> {
    if (executionId === undefined) return this.currentPlace()?.trace.traceId || undefined
    return this.#attachments?.lookUp(executionIdOf(executionId)) ?? Promise.resolve(undefined)
  }

  /** The current trace as it is now, or undefined. Throws TraceContextError where several could be meant. */
  getCurrentTrace(): LiveTrace | undefined {
    const place = this.currentPlace()
    return place && liveTrace(place.trace, (end) => place.recording.endAs(place.trace, end))
  }

  /**
   * Continues a trace of another process: by its context exactly, or by its execution id, which is looked for in the background for
   * up to 5 s; steps wait meanwhile, and are dropped as `unresolved` if nobody knows it.
   */
  attach(context: TraceContextData | { executionId: string }): AttachedTrace {
    // The context of a tracer that is disabled leads nowhere.
    if (this.#attachments === undefined || (context as TraceContextData)?.traceId === noStep.traceId)
      return noStep as unknown as AttachedTrace
    return this.#attachments.attach(context)
  }

  /** Resolves true when all that was recorded before is with Redis, false after the time-out. Never rejects. */
  async flush(options: { timeoutMs?: number } = {}): Promise<boolean> {
    return (await this.#sender?.flush(timeoutOf(options, this.#settings.closeTimeoutMs))) ?? true
  }

  /** What was counted so far. At all times emitted = sent + dropped + buffered. */
  counters(): TracerCounters {
    return this.#counters.snapshot()
  }

  /**
   * Sends what waits, at most for `timeoutMs`, and ends connections of the tracer's own. Traces still open stay `running` until a
   * worker times them out. With a spool what cannot be sent is written there. Idempotent; never rejects. What is recorded afterwards is counted as dropped, `closed`.
   */
  close(options: { timeoutMs?: number } = {}): Promise<TracerCounters> {
    this.#closing ??= this.#close(timeoutOf(options, this.#settings.closeTimeoutMs))
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(timeoutMs: number): Promise<TracerCounters> {
    this.#stopExitFlush?.()
    clearInterval(this.#heartbeat)
    await this.#sender?.flush(timeoutMs, true)
    await this.#lastResort?.finish(timeoutMs)
    this.#sender?.close()
    this.#recording?.close()
    const { buffered } = this.#counters
    if (buffered > 0) this.#sender?.drop('unsent', buffered)
    await this.#sink?.close()
    return this.counters()
  }

  #flushAtExit(): Promise<unknown> | undefined {
    if (this.#hasTriedAtExit || !this.#sender?.hasNews) return undefined
    return this.#sender.flush(this.#settings.closeTimeoutMs, true).then((done) => {
      // Redis is away: once is enough, the process wants to end.
      this.#hasTriedAtExit = !done
    })
  }

  #begin(
    skillName: string,
    options: TraceOptions,
    parentContext: TraceContextData | null | undefined,
  ): OpenTrace {
    const startedAtMs = startOf(options.startedAt)
    const isNow = startedAtMs === undefined && options.traceId === undefined
    // Read next to the other clock: what lies between them is off in every step's time.
    const startPerfMs = isNow ? perfMs() : undefined
    const beginMs = startedAtMs ?? Date.now()
    const traceId = options.traceId === undefined ? newTraceId(beginMs) : ownId(options.traceId, startedAtMs)
    if (options.traceId !== undefined && this.#recording?.openTraces.get(traceId) !== undefined)
      throw new InvalidInputError(`traceId '${traceId}' is that of a trace that is still open`)
    const { serviceText, redactor } = this.#settings
    const { executionId, metadata, timeoutMs } = options
    const parent = parentOf(parentContext)
    const trace = new OpenTrace({
      traceId,
      startedAtMs: options.traceId === undefined ? beginMs : (traceIdStart(traceId) ?? beginMs),
      skill: nameOf(skillName),
      executionId: executionIdOf(executionId),
      metadata,
      serviceText,
      redactor,
      parent,
      limitMs:
        timeoutMs !== undefined && Number.isFinite(timeoutMs) && timeoutMs > 0
          ? Math.ceil(durationOf(timeoutMs) as number)
          : undefined,
      recentBudget: this.#recentBudget,
      idPrefix: '',
      startPerfMs,
      nextStepNumber: undefined,
    })
    this.#recording?.begin(trace, this.#settings.openTracesMax)
    return trace
  }

  /**
   * Where the flow is among this tracer's traces; without that, its only open trace. Throws TraceContextError where several
   * are open and none is meant. For recorders.
   * @internal
   */
  currentPlace(): Place | undefined {
    const recording = this.#recording
    if (recording === undefined) return undefined
    for (let place = currentPlace(); place !== undefined; place = place.outer) {
      if (place.recording === recording && place.trace.end === undefined) return place
    }
    const { openTraces } = recording
    if (openTraces.size > 1) throw new TraceContextError(openTraces.size)
    const [only] = openTraces
    return only && placeIn(undefined, only, recording, undefined)
  }

  /**
   * The open trace with this id, as a place.
   * @internal
   */
  placeOf(traceId: string): Place | undefined {
    const trace = this.#recording?.openTraces.get(textOf(traceId).toLowerCase())
    return trace && placeIn(undefined, trace, this.#recording as Recording, undefined)
  }

  /**
   * For recorders.
   * @internal
   */
  get isDisabled(): boolean {
    return this.#recording === undefined
  }

  /**
   * Whether what belongs to a trace that is not found is to be passed over: the tracer is disabled or closed, or had no
   * room for the trace. For recorders.
   * @internal
   */
  lose(events: number): boolean {
    return this.#recording?.lose(events) ?? true
  }
}

const NO_OPTIONS: TraceOptions = {}

function startOf(startedAt: Date | number | undefined): number | undefined {
  if (startedAt === undefined) return undefined
  const ms = timeOf(startedAt)
  if (!isStart(ms)) {
    throw new InvalidInputError(
      `startedAt (${textOf(startedAt)}) must be a time from 2000-01-01 to a day from now`,
    )
  }
  return ms
}

function ownId(traceId: string, startedAtMs: number | undefined): string {
  const id = parseTraceId(textOf(traceId))
  if (id === undefined) throw new InvalidInputError(`traceId '${textOf(traceId)}' is no UUID`)
  const told = traceIdStart(id)
  if (told !== undefined && !isStart(told)) {
    throw new InvalidInputError(`traceId '${traceId}' is a UUIDv7 of a time more than a day from now`)
  }
  if (told !== undefined && startedAtMs !== undefined && told !== Math.floor(startedAtMs)) {
    throw new InvalidInputError(
      `traceId '${traceId}' is a UUIDv7 of another time than startedAt: leave one of them out`,
    )
  }
  return id
}

/** What a child keeps of its parent. A parent that is still being looked for has no id to tell yet. */
function parentOf(context: TraceContextData | null | undefined): TraceContextData | undefined {
  if (
    context === undefined ||
    context === null ||
    context.traceId === '' ||
    context.traceId === noStep.traceId
  )
    return undefined
  const traceId = parseTraceId(textOf(context.traceId))
  if (traceId === undefined) {
    throw new InvalidInputError(
      `parent: '${textOf(context.traceId)}' must be a trace id; give t.context(), or null`,
    )
  }
  const parent: TraceContextData = {
    traceId,
    rootTraceId: parseTraceId(textOf(context.rootTraceId)) ?? traceId,
  }
  const stepId = stepIdOf(context.stepId)
  if (stepId !== undefined) parent.stepId = stepId
  return parent
}

function contextOf({ trace, stepId }: Place): TraceContextData {
  const root = trace.parent === undefined ? trace.traceId : (trace.parent.rootTraceId ?? trace.parent.traceId)
  return { traceId: trace.traceId, rootTraceId: root, ...(stepId === undefined ? {} : { stepId }) }
}
